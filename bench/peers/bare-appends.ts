import { DatabaseSync } from 'node:sqlite';
import { serveCalls } from '../harness/peer.ts';
import { deviceHistory } from '../harness/workload.ts';

export type BareAppends = typeof calls;
const calls = { append };
serveCalls(calls);

/** Appends registrations to an equal table, a full commit for every `group` of them: events a second. */
function append({
  file,
  events,
  group,
  from,
}: {
  file: string;
  events: number;
  group: number;
  from: number;
}): number {
  const db = new DatabaseSync(file);
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL,
      id TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL, metadata TEXT NOT NULL) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS events_by_stream ON events (stream, revision)`);
  const insert = db.prepare(
    'INSERT INTO events (stream, revision, id, type, data, metadata) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const rows = Array.from({ length: events }, (_, n) => deviceHistory(from + n, 1)).flatMap((history) =>
    history.map(({ id, type, data, metadata }) => [
      data.deviceId,
      0,
      id,
      type,
      JSON.stringify(data),
      JSON.stringify(metadata),
    ]),
  );

  const began = performance.now();
  for (let done = 0; done < rows.length; done += group) {
    db.exec('BEGIN IMMEDIATE');
    for (const row of rows.slice(done, done + group)) insert.run(...row);
    db.exec('COMMIT');
  }
  const seconds = (performance.now() - began) / 1000;
  db.close();
  return events / seconds;
}
