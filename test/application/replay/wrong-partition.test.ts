import assert from 'node:assert/strict';
import { deadLetterOperations } from '../../../application/operations/dead-letters.ts';
import { activeGeneration } from '../../../application/ports/generations.ts';
import { telemetryProjection } from '../../../application/projections/telemetry.ts';
import {
  type ProjectionPipeline,
  projectionPipeline,
} from '../../../application/rebuild/projection-pipeline.ts';
import { rebuild } from '../../../application/rebuild/rebuild.ts';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';
import { eventually } from '../../support/eventually.ts';
import { PartitionedLog } from '../../support/partitioned-log.ts';
import { quiet, type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const builder = { id: 'a test', isExpired: () => false };

onEachEngine('A reading in a partition that is not its device’s', (open) => {
  let stores: ReadModelStore;
  let fixture: ReplayFixture;
  let log: PartitionedLog;
  let telemetry: ProjectionPipeline;

  beforeEach(async () => {
    stores = await open();
    fixture = await replayFixture(stores.env);
    for (const id of ['a', 'b']) await fixture.register(id);
    log = new PartitionedLog(2, (deviceId) => (deviceId === 'a' ? 0 : 1));
    const retention = await fixture.container.getAsync(s.retention);
    telemetry = projectionPipeline(
      telemetryProjection(eventRegistry, fixture.directory, retention, () => log.partitioner()),
      log,
      'test',
      { clock: { now: Date.now }, log: quiet, observer: { consumed() {}, failed() {} } },
    );
  });
  afterEach(async () => {
    await fixture.close();
    await stores.drop();
  });

  const live = () => activeGeneration(telemetry, fixture.ports.control);

  async function consumed(): Promise<void> {
    await eventually(async () => {
      const generation = await live();
      for (const [partition, end] of await log.ends())
        assert.equal(await fixture.ports.readModels.checkpoint(generation, partition), end);
    });
  }

  /** By device: rows, counts of the day's rollup, and the ledger. */
  async function tables() {
    const { generation } = await live();
    const rows = async (text: string) => (await fixture.db.rows(text)).map((row) => [...row]);
    return {
      rows: (await rows(`SELECT device_id, COUNT(*) FROM telemetry_g${generation} GROUP BY device_id`)).map(
        ([device, count]) => [device, Number(count)],
      ),
      rollups: (await rows(`SELECT device_id, metrics FROM telemetry_1d_g${generation}`)).map(
        ([device, metrics]) => [device, Number(/"n":\[(\d+)/.exec(String(metrics))?.[1])],
      ),
      ledger: await rows(
        `SELECT device_id, stored_count, dead_lettered FROM telemetry_ledger_g${generation} ORDER BY device_id`,
      ),
    };
  }

  const expected = {
    rows: [
      ['a', 30],
      ['b', 20],
    ],
    rollups: [
      ['a', 30],
      ['b', 20],
    ],
    ledger: [
      ['a', 30, 10],
      ['b', 20, 1],
    ],
  };

  /** Both partitions write the ledger of both devices, batch after batch. */
  function readings(): void {
    log.append(0, 'a', 0, 15);
    log.append(0, 'b', 500, 1);
    log.append(0, 'a', 15, 15);
    log.append(1, 'a', 100, 5);
    log.append(1, 'b', 0, 20);
    log.append(1, 'a', 105, 5);
  }

  it('is parked, and counted once in the ledger of its device, live and in a rebuild', async () => {
    readings();
    fixture.consuming([telemetry]);
    await consumed();
    assert.deepEqual(await tables(), expected);
    const found = await fixture.ports.deadLetters.list({ cause: 'wrong-partition' }, { limit: 100 });
    assert.deepEqual(found.map(({ partition, stream }) => `${partition} ${stream}`).sort(), [
      '0 device-b',
      ...Array<string>(10).fill('1 device-a'),
    ]);
    assert.match(found[0]?.error ?? '', /murmur2/);

    const options = { builder, signal: new AbortController().signal, handover: 0 };
    const outcome = await rebuild(telemetry, fixture.ports, options);
    assert.ok(outcome.comparison.equal && outcome.switched);
    assert.deepEqual(await tables(), expected);
  });

  it('stays parked when it is retried', async () => {
    readings();
    fixture.consuming([telemetry]);
    await consumed();
    const { control, deadLetters, readModels, clock } = fixture.ports;
    const operations = deadLetterOperations(
      async () => ({ pipeline: telemetry, generation: await activeGeneration(telemetry, control) }),
      deadLetters,
      readModels,
      clock,
    );
    for await (const { applied, failed } of operations.retry({ projection: 'telemetry' }))
      assert.deepEqual([applied, failed?.cause], [0, 'wrong-partition']);
    assert.deepEqual(await tables(), expected);
  });

  it('is parked by a rebuild of what an older release had applied, and the difference shown', async () => {
    log.append(0, 'a', 0, 10);
    log.append(1, 'a', 10, 1);
    fixture.consuming([telemetry]);
    await consumed();
    const { generation } = await live();
    // As the release before left it: applied, and no dead letter.
    await fixture.db.run('DELETE FROM dead_letters');
    await fixture.db.run(`UPDATE telemetry_ledger_g${generation} SET stored_count = 11, dead_lettered = 0`);
    const options = { builder, signal: new AbortController().signal, handover: 0 };
    const outcome = await rebuild(telemetry, fixture.ports, options);
    assert.deepEqual([outcome.switched, outcome.comparison.equal], [false, false]);
    const found = await fixture.ports.deadLetters.ofGeneration(outcome, { limit: 10 });
    assert.deepEqual(
      found.map(({ cause }) => cause),
      ['wrong-partition'],
    );
  });
});
