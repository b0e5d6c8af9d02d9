import { RevisionConflict } from '../../../application/ports/event-store.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { newEvent } from '../../contracts/event-store.contract.ts';
import { newPublication, reading } from '../../contracts/telemetry-log.contract.ts';

/** Appends one event at each revision of a stream where it is the first, and publishes once for each; tells how often. */
const [dataDir, stream, device, rounds] = process.argv.slice(2) as [string, string, string, string];
const files = dataFiles(dataDir);
const store = new SqliteEventStore(files.events);
const log = new SqliteTelemetryLog(files.telemetry);
let won = 0;
for (let n = 0; n < Number(rounds); n += 1) {
  await log.publish(newPublication([reading(device, n), reading(device, n + 0.5)]));
  try {
    await store.append(stream, [newEvent()], n === 0 ? 'none' : n - 1);
    won += 1;
  } catch (error) {
    if (!(error instanceof RevisionConflict)) throw error;
  }
}
await Promise.all([store.close(), log.close()]);
process.stdout.write(String(won));
