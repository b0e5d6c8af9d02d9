import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import type { BatchConsumer, Position, Positioned } from '../../../application/ports/event-source.ts';
import { measureStalls } from '../../../infrastructure/metrics/projector-metrics.ts';
import { StallDetector } from '../../../interfaces/workers/stall-detector.ts';
import { eventually } from '../../support/eventually.ts';

const patience = 120;
const active = { projection: 'telemetry', generation: 1 };
const batch = { partition: 3, after: null, events: [{ position: '1' }] };
/** More than it takes to report a stall. */
const manyChecks = 40;

describe('StallDetector', () => {
  let now: number;
  let at: Position | null;
  let end: Position | null;
  let checks: number;
  let isAway: boolean;
  let errors: unknown[];
  let detector: StallDetector;
  let stop: AbortController;
  let followed: Promise<void>;
  let consume: BatchConsumer<Positioned>['consume'];

  beforeEach(() => {
    now = 1_000_000;
    [at, end, checks, isAway, errors] = [null, null, 0, false, []];
    consume = async () => {};
    const quiet = { debug() {}, info() {}, warn() {} };
    const log = { ...quiet, error: (fields: object) => void errors.push(fields) };
    detector = new StallDetector(patience, { now: () => now }, log);
    stop = new AbortController();
    followed = detector.follow(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await followed;
  });

  const watched = () =>
    detector.watch(
      'telemetry',
      { checkpoint: async () => at, consume: (given) => consume(given) },
      {
        checkpoint: async () => at,
        async ends() {
          checks += 1;
          if (isAway) throw new Error('the broker is away');
          return new Map([[3, end]]);
        },
      },
    );
  const stall = () => detector.stalls().get('telemetry');
  const checked = (times: number) => eventually(() => assert.ok(checks >= times, `${checks} checks`));

  it('does not report a batch that takes long and makes progress', async () => {
    const hung = Promise.withResolvers<void>();
    let sign: (() => void) | undefined;
    consume = ({ onProgress }) => {
      sign = onProgress;
      return hung.promise;
    };
    [at, end] = [null, '9'];
    detector.supervisorTick('telemetry', active);
    const consumed = watched().consume(batch);
    for (let i = 0; i < 10; i += 1) {
      now += patience;
      sign?.();
      detector.supervisorTick('telemetry', active);
      assert.equal(stall(), null);
    }
    now += patience + 1;
    detector.supervisorTick('telemetry', active);
    assert.match(stall() ?? '', /a batch of partition 3 has been in progress/);
    hung.resolve();
    await consumed;
  });

  it('reports a batch that takes too long, until it is consumed', async () => {
    const hung = Promise.withResolvers<void>();
    consume = () => hung.promise;
    detector.supervisorTick('telemetry', active);
    const consumed = watched().consume(batch);
    now += patience;
    detector.supervisorTick('telemetry', active);
    assert.equal(stall(), null);
    now += 1;
    assert.match(stall() ?? '', /batch of partition 3 .* 121 ms/);
    await eventually(() => assert.equal(errors.length, 1));
    hung.resolve();
    await consumed;
    assert.equal(stall(), null);
  });

  it('reports a supervisor that no longer runs', () => {
    detector.supervisorTick('telemetry', active);
    now += patience;
    assert.equal(stall(), null);
    now += 1;
    assert.match(stall() ?? '', /its supervisor has not run/);
  });

  it('reports events that are not consumed, and logs that once', async () => {
    watched();
    detector.supervisorTick('telemetry', active);
    [at, end] = ['7-1', '9-0'];
    await eventually(() => assert.match(stall() ?? '', /events have waited/));
    await checked(checks + manyChecks);
    assert.equal(errors.length, 1);
    at = '8-0';
    await eventually(() => assert.equal(stall(), null));
  });

  it('reports nothing when the log has been consumed', async () => {
    watched();
    detector.supervisorTick('telemetry', active);
    [at, end] = ['9-0', '9-0'];
    await checked(manyChecks);
    assert.equal(stall(), null);
  });

  it('reports nothing of a projection that is paused or held by a build', async () => {
    consume = () => new Promise(() => {});
    detector.supervisorTick('telemetry', active);
    const consumer = watched();
    end = '9-0';
    await eventually(() => assert.match(stall() ?? '', /events have waited/));
    void consumer.consume(batch);
    detector.supervisorTick('telemetry', undefined);
    now += 2 * patience;
    detector.supervisorTick('telemetry', undefined);
    assert.equal(stall(), null);
    // A batch still in progress has its full time again.
    detector.supervisorTick('telemetry', active);
    assert.equal(stall(), null);
  });

  it('reports nothing while a server is unavailable', async () => {
    watched();
    detector.supervisorTick('telemetry', active);
    [end, isAway] = ['9-0', true];
    await checked(manyChecks);
    assert.equal(stall(), null);
  });

  it('reports nothing once the process is being stopped', async () => {
    detector.supervisorTick('telemetry', active);
    now += patience + 1;
    stop.abort();
    assert.equal(stall(), undefined);
  });

  it('provides the metric of stalled projections', async () => {
    const registry = new Registry();
    measureStalls(registry, () => detector.stalls());
    detector.supervisorTick('telemetry', active);
    assert.match(await registry.metrics(), /fieldlog_projection_stalled\{projection="telemetry"\} 0/);
    now += patience + 1;
    assert.match(await registry.metrics(), /fieldlog_projection_stalled\{projection="telemetry"\} 1/);
  });
});
