import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import type { BatchConsumer, Position, Positioned } from '../../../application/ports/event-source.ts';
import { measureStalls } from '../../../infrastructure/metrics/projector-metrics.ts';
import { type ProjectorWatch, stallDetector } from '../../../interfaces/workers/stall-detector.ts';
import { eventually } from '../../support/eventually.ts';

const patience = 120;
const active = { projection: 'telemetry', generation: 1 };
const batch = { partition: 3, after: null, events: [{ position: '1' }] };
/** More than it takes to be judged. */
const manyLooks = 40;

describe('The watch over projectors', () => {
  let now: number;
  let at: Position | null;
  let end: Position | null;
  let looks: number;
  let isAway: boolean;
  let errors: unknown[];
  let watch: ProjectorWatch;
  let stop: AbortController;
  let followed: Promise<void>;
  let consume: BatchConsumer<Positioned>['consume'];

  beforeEach(() => {
    now = 1_000_000;
    [at, end, looks, isAway, errors] = [null, null, 0, false, []];
    consume = async () => {};
    const quiet = { debug() {}, info() {}, warn() {} };
    const log = { ...quiet, error: (fields: object) => void errors.push(fields) };
    watch = stallDetector(patience, { now: () => now }, log);
    stop = new AbortController();
    followed = watch.follow(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await followed;
  });

  const watched = () =>
    watch.over(
      'telemetry',
      { checkpoint: async () => at, consume: (given) => consume(given) },
      {
        async ends() {
          looks += 1;
          if (isAway) throw new Error('the broker is away');
          return new Map([[3, end]]);
        },
      },
    );
  const stall = () => watch.stalls().get('telemetry');
  const looked = (times: number) => eventually(() => assert.ok(looks >= times, `${looks} looks`));

  it('finds a consumer that hangs over a batch, until it goes on', async () => {
    const hung = Promise.withResolvers<void>();
    consume = () => hung.promise;
    watch.looked('telemetry', active);
    const consumed = watched().consume(batch);
    now += patience;
    watch.looked('telemetry', active);
    assert.equal(stall(), null);
    now += 1;
    assert.match(stall() ?? '', /batch of partition 3 .* 121 ms/);
    await eventually(() => assert.equal(errors.length, 1));
    hung.resolve();
    await consumed;
    assert.equal(stall(), null);
  });

  it('finds a supervisor that no longer comes round', () => {
    watch.looked('telemetry', active);
    now += patience;
    assert.equal(stall(), null);
    now += 1;
    assert.match(stall() ?? '', /nobody has looked/);
  });

  it('finds events that wait although nobody consumes them, and says so once in the log', async () => {
    watched();
    watch.looked('telemetry', active);
    [at, end] = ['7-1', '9-0'];
    await eventually(() => assert.match(stall() ?? '', /events have waited/));
    await looked(looks + manyLooks);
    assert.equal(errors.length, 1);
    at = '8-0';
    await eventually(() => assert.equal(stall(), null));
  });

  it('does not mind a log that has been consumed', async () => {
    watched();
    watch.looked('telemetry', active);
    [at, end] = ['9-0', '9-0'];
    await looked(manyLooks);
    assert.equal(stall(), null);
  });

  it('does not mind a projection that is paused or held, whatever waits', async () => {
    consume = () => new Promise(() => {});
    watch.looked('telemetry', active);
    const consumer = watched();
    end = '9-0';
    await eventually(() => assert.match(stall() ?? '', /events have waited/));
    void consumer.consume(batch);
    watch.looked('telemetry', undefined);
    now += 2 * patience;
    watch.looked('telemetry', undefined);
    assert.equal(stall(), null);
    // What was under way meanwhile has its time again.
    watch.looked('telemetry', active);
    assert.equal(stall(), null);
  });

  it('does not blame the projector for a server that is away', async () => {
    watched();
    watch.looked('telemetry', active);
    [end, isAway] = ['9-0', true];
    await looked(manyLooks);
    assert.equal(stall(), null);
  });

  it('no longer judges a process that is to end', async () => {
    watch.looked('telemetry', active);
    now += patience + 1;
    stop.abort();
    assert.equal(stall(), undefined);
  });

  it('is measured', async () => {
    const registry = new Registry();
    measureStalls(registry, watch.stalls);
    watch.looked('telemetry', active);
    assert.match(await registry.metrics(), /fieldlog_projection_stalled\{projection="telemetry"\} 0/);
    now += patience + 1;
    assert.match(await registry.metrics(), /fieldlog_projection_stalled\{projection="telemetry"\} 1/);
  });
});
