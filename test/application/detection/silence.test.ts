import assert from 'node:assert/strict';
import { noticeSilence } from '../../../application/detection/silence.ts';
import { rebuild } from '../../../application/rebuild/rebuild.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { detectionFixture } from '../../support/detection-fixture.ts';
import { eventually } from '../../support/eventually.ts';
import { quiet } from '../../support/replay-fixture.ts';

const minute = 60_000;

describe('Silence of devices', function () {
  this.timeout(30_000);
  let fixture: Awaited<ReturnType<typeof detectionFixture>>;
  /** Milliseconds by which the clock is ahead. */
  let ahead: number;
  let rounds: number;
  let stop: () => Promise<void>;

  beforeEach(async () => {
    ahead = 0;
    rounds = 0;
    stop = async () => {};
    fixture = await detectionFixture();
    for (const deviceId of ['a', 'b', 'c']) await fixture.register(deviceId);
    await fixture.rule('quiet', { condition: { kind: 'silent', for: 10 * minute } });
    fixture.consuming();
  });
  afterEach(async () => {
    await stop();
    await fixture.close();
  });

  /** As a server does that starts now. */
  async function start(): Promise<void> {
    const { container } = fixture;
    const ports = {
      source: fixture.source,
      progress: await container.getAsync(s.freshness),
      records: await container.getAsync(s.alarmRecords),
      rules: await container.getAsync(s.ruleBook),
      telemetryLog: () => container.getAsync(s.plainTelemetryLog),
      registry: fixture.registry,
      ids: await container.getAsync(s.ids),
      log: quiet,
      clock: {
        now() {
          rounds += 1;
          return Date.now() + ahead;
        },
      },
    };
    const stopped = new AbortController();
    const over = noticeSilence(ports, stopped.signal, 10);
    stop = async () => {
      stopped.abort();
      await over;
    };
  }
  /** Resolves when the clock has been looked at again and again. */
  async function looked(): Promise<void> {
    const before = rounds;
    await eventually(() => assert.ok(rounds > before + 10));
  }
  const arrive = (deviceId: string) =>
    fixture.publishRaw(
      { deviceId, timestamp: Date.now() + ahead, metrics: { t: 1 } },
      { receivedAt: Date.now() + ahead },
    );
  const found = async () => (await fixture.alarms()).map((one) => `${one.device_id} ${one.state}`).sort();

  it('is noticed when nothing arrives at all, and ends with the next reading; a rebuild finds the same', async () => {
    await start();
    for (const deviceId of ['a', 'b']) await arrive(deviceId);
    ahead = 9.9 * minute;
    await looked();
    assert.deepEqual(await found(), []);
    ahead = 10.2 * minute;
    await eventually(async () => assert.deepEqual(await found(), ['a open', 'b open']));
    await arrive('a');
    await eventually(async () => assert.deepEqual(await found(), ['a cleared', 'b open']));
    ahead = 30 * minute;
    await eventually(async () => assert.deepEqual(await found(), ['a cleared', 'a open', 'b open']));
    await looked();
    await stop();

    const builder = { id: 'test', isExpired: () => false };
    const { signal } = new AbortController();
    const { comparison } = await rebuild(fixture.pipelines.detection, fixture.ports, {
      builder,
      signal,
      handover: 0,
    });
    assert.ok(comparison.equal && comparison.samePosition, JSON.stringify(comparison));
    assert.deepEqual(await found(), ['a cleared', 'a open', 'b open']);
    // Notices are no readings: every one that was accepted is accounted for, and nothing else.
    await fixture.consumed('telemetry');
    const { differences, totals } = await fixture.audit();
    assert.deepEqual([differences, totals.accepted, totals.deadLettered], [[], 3, 0]);
  });

  it('is counted from the start of the server on: an outage raises nothing', async () => {
    for (const deviceId of ['a', 'b', 'c']) await arrive(deviceId);
    ahead = 600 * minute;
    await start();
    await looked();
    for (const deviceId of ['a', 'b']) await arrive(deviceId);
    ahead += 9.9 * minute;
    await looked();
    assert.deepEqual(await found(), []);
    await arrive('a');
    ahead += 0.3 * minute;
    await eventually(async () => assert.deepEqual(await found(), ['b open', 'c open']));
    await looked();
    assert.deepEqual(await found(), ['b open', 'c open']);
  });
});
