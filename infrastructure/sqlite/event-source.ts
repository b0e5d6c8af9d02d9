import type { EventMetadata, RecordedEvent } from '../../application/ports/event-store.ts';
import { logIdentity, openSqliteFile } from './database-file.ts';
import { eventsFile } from './event-store.ts';
import { type LogReader, type SourceOptions, SqliteSource, sourceDefaults } from './log-source.ts';

type Row = [
  position: number,
  stream: string,
  revision: number,
  id: string,
  type: string,
  data: string,
  metadata: string,
];

/** The fewer rows a call fetches, the less is read past a batch's limit; more would hardly be faster. */
const pageRows = 1000;

/** What more events take does not fit the garbage collector's nursery: each then costs a fifth more. */
const mostEvents = 4000;

/** All events of a `SqliteEventStore`'s file, in batches of at most 4000. Throws `StartupError`. */
export function sqliteEventSource(
  path: string,
  options: Partial<SourceOptions> = {},
): SqliteSource<RecordedEvent> {
  const asked = { ...sourceDefaults, ...options };
  const settings = { ...asked, batchEvents: Math.min(mostEvents, asked.batchEvents) };
  return new SqliteSource(eventReader(path, settings), settings);
}

function eventReader(path: string, { batchEvents, batchBytes }: SourceOptions): LogReader<RecordedEvent> {
  const db = openSqliteFile(eventsFile(path));
  const page = db.prepare(
    `SELECT position, stream, revision, id, type, data, metadata FROM events
     WHERE position > ? ORDER BY position LIMIT ?`,
  );
  page.setReturnArrays(true);
  const end = db.prepare('SELECT ifnull(max(position), 0) FROM events');
  end.setReturnArrays(true);

  return {
    name: 'devices',
    path,
    idOf: ({ id }) => id,
    identity: () => logIdentity(db),
    after(position, limit = batchEvents) {
      const events: RecordedEvent[] = [];
      let last = position;
      for (let bytes = 0; events.length < limit && bytes < batchBytes; ) {
        const wanted = Math.min(pageRows, limit - events.length);
        const rows = page.all(last, wanted) as unknown as Row[];
        for (const row of rows) {
          events.push(recorded(row));
          bytes += row[5].length + row[6].length;
        }
        if (rows.length < wanted) break;
        last = rows.at(-1)?.[0] ?? last;
      }
      return events;
    },
    end: () => (end.get() as unknown as [number])[0],
    close: () => db.close(),
  };
}

const recorded = ([position, stream, revision, id, type, data, metadata]: Row): RecordedEvent => ({
  id,
  type,
  data: parsed(data),
  metadata: parsed(metadata) as EventMetadata,
  stream,
  revision,
  position: String(position),
});

/** Text that is not JSON is passed on as it is: validation rejects it. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
