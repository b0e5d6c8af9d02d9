import type { DatabaseSync } from 'node:sqlite';
import type { EventMetadata, RecordedEvent } from '../../application/ports/event-store.ts';
import { deviceStream } from '../../domain/device.ts';
import { type Creation, logIdentity, openSqliteFile } from './database-file.ts';
import { unreadableAt } from './errors.ts';
import { eventsFile } from './event-store.ts';
import { stateOfEvents } from './file-state.ts';
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

/** Streams of one kind are read; those of devices are nearly all there are. */
const deviceStreams = deviceStream('');

/**
 * The events of a `SqliteEventStore`'s file whose stream's name begins with `prefix`, in batches of at most 4000; those
 * of devices when absent. Throws `StartupError`.
 */
export function sqliteEventSource(
  path: string,
  {
    prefix = deviceStreams,
    create = true,
    ...options
  }: Partial<SourceOptions> & Creation & { readonly prefix?: string } = {},
): SqliteSource<RecordedEvent> {
  const asked = { ...sourceDefaults, ...options };
  const settings = { ...asked, batchEvents: Math.min(mostEvents, asked.batchEvents) };
  // Read from one end to the other, no page is looked at twice.
  const db = openSqliteFile({ ...eventsFile(path), cache: 1024 }, { create });
  return new SqliteSource(eventReader(db, path, prefix, settings), settings);
}

function eventReader(
  db: DatabaseSync,
  path: string,
  prefix: string,
  { batchEvents, batchBytes }: SourceOptions,
): LogReader<RecordedEvent> {
  // What is rare is found by name, what is frequent in passing.
  const events = `events ${prefix === deviceStreams ? 'NOT INDEXED' : 'INDEXED BY events_by_stream'}`;
  const range = [prefix, afterPrefix(prefix)] as const;
  const prepared = (text: string) => {
    const statement = db.prepare(text);
    statement.setReturnArrays(true);
    return statement;
  };
  const page = prepared(
    `SELECT position, stream, revision, id, type, data, metadata FROM ${events}
     WHERE position > ? AND stream >= ? AND stream < ? ORDER BY position LIMIT ?`,
  );
  const newest = prepared('SELECT ifnull(max(position), 0) FROM events');
  const last = prepared(
    `SELECT position FROM ${events} WHERE position > ? AND stream >= ? AND stream < ?
     ORDER BY position DESC LIMIT 1`,
  );
  const others = prepared(
    `SELECT count(*) FROM events INDEXED BY events_by_stream
     WHERE (stream < ? OR stream >= ?) AND position > ? AND position <= ?`,
  );
  // What lies before the end of an earlier search is known already.
  const searched = { upTo: 0, last: 0 };
  const end = () => {
    const upTo = numberOf(newest.get());
    if (upTo !== searched.upTo) {
      const found = last.get(searched.upTo, ...range);
      if (found) searched.last = numberOf(found);
      searched.upTo = upTo;
    }
    return searched.last;
  };

  return {
    name: 'devices',
    path,
    state: stateOfEvents,
    idOf: ({ id }) => id,
    identity: () => logIdentity(db),
    after(position, limit = batchEvents) {
      const events: RecordedEvent[] = [];
      let last = position;
      for (let bytes = 0; events.length < limit && bytes < batchBytes; ) {
        const wanted = Math.min(pageRows, limit - events.length);
        const rows = page.all(last, ...range, wanted) as unknown as Row[];
        for (const row of rows) {
          events.push(recorded(row, path));
          bytes += row[5].length + row[6].length;
        }
        if (rows.length < wanted) break;
        last = rows.at(-1)?.[0] ?? last;
      }
      return events;
    },
    end,
    countAfter(position) {
      const to = end();
      return position >= to ? 0 : to - position - numberOf(others.get(...range, position, to));
    },
    close: () => db.close(),
  };
}

const numberOf = (row: unknown): number => (row as [number])[0];

/** The least text that is greater than all that begin with `prefix`. */
const afterPrefix = (prefix: string): string =>
  prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);

const recorded = (
  [position, stream, revision, id, type, data, metadata]: Row,
  path: string,
): RecordedEvent => ({
  id,
  type,
  data: parsed(data, path, position),
  metadata: parsed(metadata, path, position) as EventMetadata,
  stream,
  revision,
  position: String(position),
});

/** Text that is not JSON is passed on as it is: validation rejects it, and others go on. */
function parsed(text: string, path: string, position: number): unknown {
  try {
    return JSON.parse(text);
  } catch {
    unreadableAt(path, position);
    return text;
  }
}
