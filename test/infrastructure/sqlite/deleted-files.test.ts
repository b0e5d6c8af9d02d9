import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { sqliteApiKeys } from '../../../infrastructure/sqlite/api-keys.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { sqliteEventSource } from '../../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/telemetry-source.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { DataFolders } from './temporary-directory.ts';

describe('A data folder whose files are deleted after the start', () => {
  const folder = new DataFolders();

  function deleteAll(): void {
    for (const name of readdirSync(folder.path)) rmSync(`${folder.path}/${name}`);
  }
  const nothingIsMade = () => assert.deepEqual(readdirSync(folder.path), []);

  it('is given none again by the thread of the telemetry log, which takes nothing', async () => {
    const log = new SqliteTelemetryLog(folder.files.telemetry);
    // Its thread has not opened the file yet.
    deleteAll();
    await assert.rejects(
      log.publish(newPublication([reading(newDevice(), 1)])),
      (error: Error) =>
        error instanceof TelemetryLogUnavailable && /telemetry\.db was deleted/.test(String(error.cause)),
    );
    await log.close();
    nothingIsMade();
  });

  it('is given none again by a key that is to be made', async () => {
    const keys = sqliteApiKeys(folder.files.access);
    deleteAll();
    const key = {
      name: 'k',
      hash: 'h',
      scopes: [],
      only: null,
      createdAt: 0,
      expiresAt: null,
      revokedAt: null,
    };
    await assert.rejects(keys.add(key), { name: 'KeysUnavailable', message: /access\.db was deleted/ });
    nothingIsMade();
  });

  it('is given none again by whoever opens one later', () => {
    const later = { create: false };
    const opening = [
      () => new SqliteEventStore(folder.files.events, later),
      () => new SqliteTelemetryLog(folder.files.telemetry, later),
      () => sqliteEventSource(folder.files.events, later),
      () => sqliteTelemetrySource(folder.files.telemetry, later),
    ];
    for (const open of opening)
      assert.throws(open, (error) => error instanceof StartupError && /was deleted/.test(error.message));
    nothingIsMade();
    const gone = dataFiles(`${folder.path}/gone`, later);
    assert.throws(() => new SqliteEventStore(gone.events), {
      name: 'StartupError',
      message: /^Cannot open .*events\.db: ENOENT.* Check DATA_DIR$/,
    });
    nothingIsMade();
  });
});
