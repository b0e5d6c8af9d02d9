import { DatabaseSync } from 'node:sqlite';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';

/** Writes to the log at a path, and is killed when a checkpoint of it fails. */
const [path, count] = process.argv.slice(2) as [string, string];
if (path.endsWith('telemetry.db')) {
  const log = new SqliteTelemetryLog(path);
  const publications = Array.from({ length: Number(count) }, (_, n) =>
    newPublication([reading(newDevice(), n)]),
  );
  await Promise.all(publications.map((publication) => log.publish(publication)));
} else {
  const store = new SqliteEventStore(path);
  const streams = Array.from({ length: Number(count) }, () => newStream());
  await Promise.all(streams.map((stream) => store.append(stream, [newEvent()], 'none')));
}
try {
  new DatabaseSync(path).exec('PRAGMA wal_checkpoint(PASSIVE)');
} catch {
  process.kill(process.pid, 'SIGKILL');
}
