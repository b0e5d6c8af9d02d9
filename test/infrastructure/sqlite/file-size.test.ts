import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { sqliteEventSource } from '../../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/telemetry-source.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { temporaryDirectory } from './temporary-directory.ts';

describe('Files of read models', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let path: string;
  beforeEach(() => {
    directory = temporaryDirectory();
    path = dataFiles(directory.path).readModels;
  });
  afterEach(() => directory.remove());

  const rows = (count: number) => Array.from({ length: count }, (_, id) => [id, 'x'.repeat(500)] as const);
  const fill = async (db: SqliteSql, table: string) => {
    await db.run(`CREATE TABLE ${table} (id INTEGER PRIMARY KEY, text TEXT)`);
    await db.write('insert', table, ['id', 'text'], rows(10_000));
  };
  const count = async (db: SqliteSql, table: string) => (await db.all(`SELECT id FROM ${table}`)).length;
  const bytesBeside = () => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;

  it('give back what a dropped table took, its write-ahead log too', async () => {
    const db = new SqliteSql(path);
    await fill(db, 't');
    await db.reclaim();
    const kept = statSync(path).size;
    await fill(db, 'u');
    await db.run('DROP TABLE u');
    await db.reclaim();
    assert.ok(statSync(path).size < 1.1 * kept, `${statSync(path).size} of ${kept}`);
    assert.equal(bytesBeside(), 0);
    assert.equal(await count(db, 't'), 10_000);
    await db.close();
  });

  it('of an older release give it back as well', async () => {
    const older = new DatabaseSync(path);
    older.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; CREATE TABLE of_before (id INTEGER)');
    older.close();
    const db = new SqliteSql(path);
    await fill(db, 't');
    await fill(db, 'u');
    await db.run('DROP TABLE u');
    await db.reclaim();
    assert.ok(statSync(path).size < 10_000 * 600, `${statSync(path).size}`);
    assert.equal(await count(db, 't'), 10_000);
    await db.close();
  });

  it('let others write while they give space back', async () => {
    const db = new SqliteSql(path);
    await fill(db, 't');
    await fill(db, 'u');
    await db.run('DROP TABLE t');
    const reclaiming = db.reclaim();
    await db.run("INSERT INTO u VALUES (10000, 'y')");
    await reclaiming;
    assert.equal(await count(db, 'u'), 10_001);
    await db.close();
  });

  it('are whole without a write-ahead log once they are closed, though others still read', async () => {
    const db = new SqliteSql(path);
    await fill(db, 't');
    const reader = new SqliteSql(path, { readOnly: true });
    await reader.all('SELECT id FROM t LIMIT 1');
    await db.close();
    assert.equal(bytesBeside(), 0);
    await reader.close();
    assert.equal(bytesBeside(), 0);
  });
});

describe('Files of logs', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => directory.remove());

  it('are whole without a write-ahead log once they are closed, though others still read', async () => {
    const { events, telemetry } = dataFiles(directory.path);
    const [store, log] = [new SqliteEventStore(events), new SqliteTelemetryLog(telemetry)];
    const readers = [sqliteEventSource(events), sqliteTelemetrySource(telemetry)];
    await store.append(`device-${newStream()}`, [newEvent()], 'none');
    await log.publish(newPublication([reading(newDevice(), 1)]));
    for (const reader of readers) await reader.ends();
    await Promise.all([store.close(), log.close()]);
    for (const path of [events, telemetry]) copyFileSync(path, `${path}.copy`);
    for (const reader of readers) await reader.close();
    const copies = [sqliteEventSource(`${events}.copy`), sqliteTelemetrySource(`${telemetry}.copy`)];
    for (const copy of copies) {
      assert.equal((await copy.ends()).get(0), '1');
      await copy.close();
    }
  });
});

describe('A data directory', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let dataDir: string;
  let umask: number;
  beforeEach(() => {
    directory = temporaryDirectory();
    dataDir = join(directory.path, 'data');
    umask = process.umask(0o022);
  });
  afterEach(() => {
    process.umask(umask);
    directory.remove();
  });

  const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);
  const modes = () =>
    Object.fromEntries(readdirSync(dataDir).map((name) => [name, modeOf(join(dataDir, name))]));
  /** Each file open, so that what SQLite keeps beside it is there. */
  async function opened(look: () => void) {
    const { events, telemetry, readModels } = dataFiles(dataDir);
    const files = [
      new SqliteEventStore(events),
      new SqliteTelemetryLog(telemetry),
      new SqliteSql(readModels),
    ];
    await (files[2] as SqliteSql).run('CREATE TABLE IF NOT EXISTS t (id INTEGER)');
    look();
    await Promise.all(files.map((file) => file.close()));
  }

  it('that is made is its owner’s alone, and so are its files', async () => {
    await opened(() => {
      assert.equal(modeOf(dataDir), '700');
      const found = modes();
      assert.equal(Object.keys(found).length > 5, true, Object.keys(found).join());
      assert.deepEqual([...new Set(Object.values(found))], ['600']);
    });
  });

  it('that was there keeps its mode and what a group may; others may do nothing with its files', async () => {
    mkdirSync(dataDir, { mode: 0o755 });
    await opened(() => {});
    const { readModels } = dataFiles(dataDir);
    chmodSync(readModels, 0o644);
    await opened(() => {
      assert.equal(modeOf(dataDir), '755');
      assert.equal(modeOf(readModels), '640');
      assert.ok(existsSync(`${readModels}-wal`));
      assert.equal(modeOf(`${readModels}-wal`), '640');
    });
  });
});
