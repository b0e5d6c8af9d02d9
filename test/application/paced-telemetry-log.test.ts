import assert from 'node:assert/strict';
import type { TelemetryLog } from '../../application/ports/telemetry-log.ts';
import type { ProjectionStatus } from '../../application/progress.ts';
import { withBackpressure } from '../../application/telemetry/backpressure.ts';
import { newDevice, newPublication, reading } from '../contracts/telemetry-log.contract.ts';

const limit = 1000;

describe('A paced telemetry log', () => {
  let now: number;
  let status: () => Promise<ProjectionStatus>;
  let published: number;
  let said: string[];
  let log: TelemetryLog;
  beforeEach(() => {
    now = 0;
    published = 0;
    said = [];
    const inner: TelemetryLog = {
      async publish() {
        published += 1;
        return [{ partition: 0, position: String(published) }];
      },
    };
    const keep = (_: unknown, message: string) => void said.push(message);
    const logger = { debug: keep, info: keep, warn: keep, error: keep };
    log = withBackpressure(inner, () => status(), limit, { now: () => now }, logger);
  });
  const at = (position: number, lag: number | null) => {
    status = async () => ({ positions: [`telemetry:0:${position}`], lag, lagIsAtLeast: false });
  };
  /** Publishes, and answers with whether that was done at once. */
  async function isAtOnce(): Promise<boolean> {
    const before = published;
    const publishing = log.publish(newPublication([reading(newDevice(), 1)]));
    const atOnce = published > before;
    assert.deepEqual(await publishing, [{ partition: 0, position: String(before + 1) }]);
    return atOnce;
  }
  /** Lets the log have a look, of which the next publications know. */
  async function look(): Promise<void> {
    now += 250;
    await isAtOnce();
    await new Promise((resolve) => setImmediate(resolve));
  }

  it('publishes at once while telemetry is no farther behind than it may be', async () => {
    at(1, limit);
    await look();
    assert.equal(await isAtOnce(), true);
    assert.deepEqual(said, []);
  });

  it('keeps publications waiting while telemetry is farther behind, and says so once', async () => {
    at(1, limit * 1.01);
    await look();
    assert.equal(await isAtOnce(), false);
    at(2, limit * 1.02);
    await look();
    assert.equal(await isAtOnce(), false);
    at(3, limit);
    await look();
    assert.equal(await isAtOnce(), true);
    assert.equal(published, 6);
    assert.deepEqual(said, [
      'telemetry is far behind: ingest is slowed down',
      'ingest is no longer slowed down',
    ]);
  });

  it('does not wait for a projection that stands still', async () => {
    at(1, limit * 1.01);
    await look();
    assert.equal(await isAtOnce(), false);
    now += 10_000;
    await look();
    assert.equal(await isAtOnce(), true);
  });

  it('does not wait where it is unknown how far telemetry is behind', async () => {
    at(1, limit * 1.01);
    await look();
    at(2, null);
    await look();
    assert.equal(await isAtOnce(), true);
    at(3, limit * 1.01);
    await look();
    status = async () => {
      throw new Error('no database');
    };
    await look();
    await look();
    assert.equal(await isAtOnce(), true);
    assert.deepEqual(said.slice(-2), [
      'consumer lag of telemetry unknown: ingest is not slowed down',
      'ingest is no longer slowed down',
    ]);
  });
});
