import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { sqliteEventSource } from '../../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/telemetry-source.ts';
import { walIndexOf } from '../../../infrastructure/sqlite/wal-index.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from './temporary-directory.ts';

type Log = { write(count?: number): Promise<unknown>; close(): Promise<void> };
type Source = { ends(): Promise<unknown>; close(): Promise<void> };

const logs = {
  'telemetry.db': {
    /** So many that the tree of the table grows a page with every few writes. */
    perWrite: 100,
    log(path: string): Log {
      const log = new SqliteTelemetryLog(path);
      const readings = Array.from({ length: 1000 }, (_, n) => reading(newDevice(), n));
      return {
        write: (count) => log.publish(newPublication(readings.slice(0, count))),
        close: () => log.close(),
      };
    },
    source: (path: string): Source => sqliteTelemetrySource(path),
  },
  'events.db': {
    perWrite: 10,
    log(path: string): Log {
      const store = new SqliteEventStore(path);
      const events = () => Array.from({ length: 200 }, () => newEvent());
      return {
        write: (count) => store.append(newStream(), events().slice(0, count), 'none'),
        close: () => store.close(),
      };
    },
    source: (path: string): Source => sqliteEventSource(path),
  },
} as const;

describe('A log that an older one is copied over while it is open', () => {
  for (const [name, { perWrite, log: openLog, source: openSource }] of Object.entries(logs)) {
    it(`is refused by all who have ${name} open, also after it has grown again`, async () => {
      const directory = temporaryDirectory();
      const path = join(dataFiles(directory.path).events, '..', name);
      const older = join(directory.path, 'older.db');
      await openLog(path).close();
      copyFileSync(path, older);
      const before = openLog(path);
      await before.write();
      await before.close();
      const newer = join(directory.path, 'newer.db');
      copyFileSync(path, newer);

      const [log, source] = [openLog(path), openSource(path)];
      try {
        await source.ends();
        // Not once written to: the thread of a log may only be starting.
        copyFileSync(older, path);
        const refused = {
          message: new RegExp(`${name} was overwritten while it was in use: .* ${name}-wal`),
        };
        await assert.rejects(log.write(), refused);
        await assert.rejects(source.ends(), refused);
        copyFileSync(newer, path);
        await assert.rejects(log.write(), refused);
        await assert.rejects(source.ends(), refused);
      } finally {
        await source.close();
        await log.close();
        directory.remove();
      }
    });

    it(`is refused by all who have ${name} open, when it is as large as the newer one`, async () => {
      const directory = temporaryDirectory();
      const path = join(dataFiles(directory.path).events, '..', name);
      const older = join(directory.path, 'older.db');
      for (const before of [() => {}, () => copyFileSync(path, older)]) {
        before();
        const log = openLog(path);
        await log.write(1);
        await log.close();
      }
      assert.equal(statSync(older).size, statSync(path).size);

      const [log, source] = [openLog(path), openSource(path)];
      try {
        await source.ends();
        copyFileSync(older, path);
        const refused = { message: new RegExp(`${name} was overwritten while it was in use`) };
        await assert.rejects(log.write(1), refused);
        await eventually(() => assert.rejects(source.ends(), refused), { within: 5000 });
      } finally {
        await source.close();
        await log.close();
        directory.remove();
      }
    });

    it(`is not what checkpoints make of ${name}, nor another time of its change`, async () => {
      const directory = temporaryDirectory();
      const path = join(dataFiles(directory.path).events, '..', name);
      const [log, other, source] = [openLog(path), openLog(path), openSource(path)];
      try {
        for (let n = 0; n < 30; n += 1) {
          await Promise.all([log.write(), other.write()]);
          utimesSync(path, n, n);
          await source.ends();
        }
        assert.ok(statSync(path).size > 65_536, 'it was not written to');
      } finally {
        await source.close();
        await log.close();
        await other.close();
        directory.remove();
      }
    });

    it(`is not what checkpoints leave of ${name} while an older state is read`, async () => {
      const directory = temporaryDirectory();
      const path = join(dataFiles(directory.path).events, '..', name);
      const [log, source] = [openLog(path), openSource(path)];
      await log.write(1);
      const reader = new DatabaseSync(path, { readOnly: true });
      let leftToALaterOne = 0;
      try {
        for (let n = 0; n < 400; n += 1) {
          reader.exec('BEGIN; SELECT * FROM log_identity');
          await log.write(perWrite);
          await source.ends();
          const { frames, moved } = walIndexOf(path) ?? assert.fail();
          if (moved > 0 && moved < frames) leftToALaterOne += 1;
          reader.exec('COMMIT');
        }
        assert.ok(leftToALaterOne > 3, 'checkpoints moved everything');
      } finally {
        reader.close();
        await source.close();
        await log.close();
        directory.remove();
      }
    }).timeout(30_000);
  }
});

/** Has another process write to the log, which is killed where it has moved only a part of that to the file. */
function cutCheckpointShort(path: string, count: number): void {
  // Of files that may not grow, what a checkpoint changes in the middle is written, and what is to come behind it is not.
  const blocks = statSync(path).size / 512;
  const script = fileURLToPath(new URL('./checkpointing-process.ts', import.meta.url));
  const { signal, stderr } = spawnSync(
    'sh',
    ['-c', `ulimit -f ${blocks}; exec "$@"`, 'sh', process.execPath, script, path, String(count)],
    { encoding: 'utf8' },
  );
  assert.equal(signal, 'SIGKILL', stderr);
}

describe('A log whose checkpoint was killed while others have it open', () => {
  it('is whole, written to and read, and the next to open it ends the checkpoint', async function () {
    // Elsewhere nothing distinguishes it from a file that an older one was copied over.
    if (process.platform !== 'linux') this.skip();
    const directory = temporaryDirectory();
    const opened: { close(): Promise<void> }[] = [];
    try {
      const cut = await Promise.all(
        Object.entries(logs).map(async ([name, { log: openLog, source: openSource }]) => {
          const path = join(dataFiles(directory.path).events, '..', name);
          const first = openLog(path);
          await first.write(1);
          await first.close();
          const db = new DatabaseSync(path);
          db.exec('CREATE TABLE room AS SELECT zeroblob(8388608) AS bytes; PRAGMA wal_checkpoint(TRUNCATE)');
          db.close();
          const [log, source] = [openLog(path), openSource(path)];
          opened.push(log, source);
          // One whose thread is only starting would end the checkpoint as it opens the file.
          await Promise.all([log.write(1), source.ends()]);
          cutCheckpointShort(path, 400);
          const open = () => openSource(path);
          return { name, path, open, log, source, changedAt: statSync(path).ctimeMs };
        }),
      );
      const since = performance.now();
      await eventually(async () => {
        for (const { log, source } of cut) await Promise.all([log.write(1), source.ends()]);
        assert.ok(performance.now() - since > 2500, 'longer than what is overwritten may stay unchanged');
      });
      for (const { name, path, open, changedAt } of cut) {
        const { ctimeMs, size } = statSync(path);
        assert.equal(ctimeMs, changedAt, `${name} is as it was left`);
        opened.push(open());
        assert.ok(statSync(path).size > size, name);
      }
    } finally {
      for (const one of opened) await one.close();
      directory.remove();
    }
  }).timeout(30_000);
});

describe('Read models that older ones are copied over while they are open', () => {
  it('are refused, where a checkpoint went back by it', async () => {
    const directory = temporaryDirectory();
    const path = dataFiles(directory.path).readModels;
    const older = join(directory.path, 'older.db');
    const checkpointAt = async (position: string) => {
      const db = new SqliteSql(path);
      await migrateReadModels(db, 0);
      await db.write(
        'replace',
        'checkpoints',
        ['projection', 'generation', 'part', 'position', 'epoch', 'updated_at'],
        [['telemetry', 1, 0, position, 0, 0]],
      );
      await db.close();
    };
    await checkpointAt('99');
    copyFileSync(path, older);
    await checkpointAt('100');
    assert.equal(statSync(older).size, statSync(path).size);

    const db = new SqliteSql(path);
    try {
      await db.all('SELECT * FROM projections');
      copyFileSync(older, path);
      const refused = { name: 'ReadModelsUnavailable', message: /read-models.db was overwritten/ };
      await eventually(() => assert.rejects(db.all('SELECT 1'), refused), { within: 5000 });
      await assert.rejects(db.run('DELETE FROM dead_letters'), refused);
    } finally {
      await db.close();
      directory.remove();
    }
  });
});
