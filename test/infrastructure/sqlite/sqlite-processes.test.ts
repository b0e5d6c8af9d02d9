import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/telemetry-source.ts';
import { newStream } from '../../contracts/event-store.contract.ts';
import { newDevice, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';
import { RecordingConsumer, runUntil } from '../../support/recording-consumer.ts';
import { DataFolders } from './temporary-directory.ts';

const processes = 3;
const rounds = 40;

describe('SQLite files that several processes or threads have open', function () {
  this.timeout(60_000);
  const folder = new DataFolders();

  const fixture = (name: string) => fileURLToPath(new URL(name, import.meta.url));

  it('keep what each of them writes, once and in order, and let others see it', async () => {
    const store = new SqliteEventStore(folder.files.events);
    const source = sqliteTelemetrySource(folder.files.telemetry);
    const consumer = new RecordingConsumer<TelemetryRecord>();
    const stream = newStream();
    const devices = Array.from({ length: processes }, newDevice);

    const write = (device: string) =>
      promisify(execFile)(process.execPath, [
        fixture('./writing-process.ts'),
        folder.path,
        stream,
        device,
        String(rounds),
      ]);
    await runUntil(source, consumer, 'test', async () => {
      const won = (await Promise.all(devices.map(write))).map(({ stdout }) => Number(stdout));
      const total = won.reduce((sum, count) => sum + count, 0);
      const recorded = await store.read(stream);
      assert.deepEqual(
        recorded.map(({ revision }) => revision),
        Array.from({ length: total }, (_, n) => n),
      );
      assert.ok(total >= rounds - 1, `${total} appends won`);
      await eventually(() => assert.equal(consumer.events.length, processes * rounds * 2));
    });

    consumer.verdict();
    assert.deepEqual(
      consumer.events.map(({ position }) => position),
      consumer.events.map((_, i) => String(i + 1)),
    );
    for (const device of devices)
      assert.deepEqual(
        consumer.events
          .map(({ data }) => data)
          .filter((data) => (data as { deviceId: string }).deviceId === device),
        Array.from({ length: rounds * 2 }, (_, n) => reading(device, n / 2)),
      );
    await Promise.all([store.close(), source.close()]);
  });

  it('are written to in turn, and by the others when a thread dies in the middle of a transaction', async () => {
    const db = new SqliteSql(folder.files.readModels);
    await db.run('CREATE TABLE counter (n INTEGER NOT NULL)');
    await db.run('INSERT INTO counter VALUES (0)');
    const thread = new Worker(fixture('./transacting-thread.ts'), { workerData: folder.files.readModels });
    let held = false;
    thread.on('message', () => {
      held = true;
    });
    for (let n = 0; n < 100; n += 1) await db.run('UPDATE counter SET n = n + 1');
    await eventually(() => assert.ok(held, 'the thread has written, and is in its last transaction'));
    const waiting = db.run('UPDATE counter SET n = n + 1');
    await thread.terminate();
    await waiting;
    const [row] = await db.all<{ n: number }>('SELECT n FROM counter');
    assert.equal(row?.n, 201);
    await db.close();
  });
});
