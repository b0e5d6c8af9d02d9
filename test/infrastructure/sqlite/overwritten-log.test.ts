import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { sqliteEventSource } from '../../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/telemetry-source.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { temporaryDirectory } from './temporary-directory.ts';

type Log = { write(): Promise<unknown>; close(): Promise<void> };
type Source = { ends(): Promise<unknown>; close(): Promise<void> };

const logs = {
  'telemetry.db': {
    log(path: string): Log {
      const log = new SqliteTelemetryLog(path);
      const readings = Array.from({ length: 1000 }, (_, n) => reading(newDevice(), n));
      return { write: () => log.publish(newPublication(readings)), close: () => log.close() };
    },
    source: (path: string): Source => sqliteTelemetrySource(path),
  },
  'events.db': {
    log(path: string): Log {
      const store = new SqliteEventStore(path);
      const events = Array.from({ length: 200 }, () => newEvent());
      return { write: () => store.append(newStream(), events, 'none'), close: () => store.close() };
    },
    source: (path: string): Source => sqliteEventSource(path),
  },
} as const;

describe('A log that an older one is copied over while it is open', () => {
  for (const [name, { log: openLog, source: openSource }] of Object.entries(logs)) {
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
  }
});
