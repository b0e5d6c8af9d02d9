import type { DatabaseSync } from 'node:sqlite';
import {
  recordAt,
  type TelemetryPublication,
  type TelemetryRecord,
} from '../../application/ports/telemetry-log.ts';
import { type Creation, lastBatch, logIdentity, openSqliteFile, telemetryFile } from './database-file.ts';
import { unreadableAt } from './errors.ts';
import { stateOfTelemetry } from './file-state.ts';
import { type LogReader, type SourceOptions, SqliteSource, sourceDefaults } from './log-source.ts';

type Row = [firstOffset: number, count: number, body: string];

/** All events of a `SqliteTelemetryLog`'s file. Throws `StartupError`. */
export function sqliteTelemetrySource(
  path: string,
  { create = true, ...options }: Partial<SourceOptions> & Creation = {},
): SqliteSource<TelemetryRecord> {
  const settings = { ...sourceDefaults, ...options };
  const db = openSqliteFile(telemetryFile(path), { create });
  return new SqliteSource(telemetryReader(db, path, settings), settings);
}

function telemetryReader(
  db: DatabaseSync,
  path: string,
  { batchEvents, batchBytes }: SourceOptions,
): LogReader<TelemetryRecord> {
  const from = db.prepare(
    `SELECT first_offset, count, body FROM batches
     WHERE first_offset >= ifnull((SELECT max(first_offset) FROM batches WHERE first_offset <= ?1), 0)
       AND first_offset + count > ?1
     ORDER BY first_offset`,
  );
  from.setReturnArrays(true);
  const holding = db.prepare(
    'SELECT first_offset, count, body FROM batches WHERE first_offset <= ? ORDER BY first_offset DESC LIMIT 1',
  );
  holding.setReturnArrays(true);
  const last = db.prepare(lastBatch);
  last.setReturnArrays(true);

  return {
    name: 'telemetry',
    path,
    state: stateOfTelemetry,
    idOf: ({ id }) => id,
    identity: () => logIdentity(db),
    after(position, limit = batchEvents) {
      const events: TelemetryRecord[] = [];
      let bytes = 0;
      for (const row of from.iterate(position + 1) as unknown as Iterable<Row>) {
        const skip = Math.max(0, position + 1 - row[0]);
        addEvents(events, row, skip, limit, path);
        bytes += row[2].length;
        if (events.length >= limit || bytes >= batchBytes) break;
      }
      return events;
    },
    end() {
      const [first, count] = (last.get() ?? [1, 0]) as unknown as [number, number];
      return first + count - 1;
    },
    /** Publications are in the order in which they came: half of those left over are ruled out at each look. */
    before(time) {
      let before = 0;
      for (let rest = this.end(); before < rest; ) {
        const [first, count, body] = holding.get(Math.ceil((before + rest) / 2)) as unknown as Row;
        const receivedAt = publicationIn(body, count)?.receivedAt;
        if (receivedAt !== undefined && receivedAt < time) before = first + count - 1;
        else rest = first - 1;
      }
      return before;
    },
    close: () => db.close(),
  };
}

/** Adds the row's events but for the first `skip`, until there are `atMost` in all. */
function addEvents(
  events: TelemetryRecord[],
  [firstOffset, count, body]: Row,
  skip: number,
  atMost: number,
  path: string,
): void {
  const publication = publicationIn(body, count) ?? unreadable(firstOffset, count, body, path);
  const end = Math.min(count, skip + atMost - events.length);
  for (let i = skip; i < end; i += 1)
    events.push(recordAt(publication, i, String(firstOffset + i), publication.events[i]));
}

function publicationIn(body: string, count: number): TelemetryPublication | undefined {
  try {
    const publication = JSON.parse(body) as Partial<TelemetryPublication> | null;
    if (Array.isArray(publication?.events) && publication.events.length === count)
      return publication as TelemetryPublication;
  } catch {
    // Seen in the result: a body that is no JSON is as unreadable as one of another shape.
  }
  return undefined;
}

/** As many events as the row counts, so that no position is missing: the projector parks each of them. */
function unreadable(firstOffset: number, count: number, body: string, path: string) {
  unreadableAt(path, firstOffset);
  return {
    id: `unreadable-${firstOffset}`,
    type: 'Unreadable',
    schemaVersion: 0,
    receivedAt: 0,
    correlationId: 'unknown',
    actor: 'unknown',
    events: Array.from({ length: count }, () => body as unknown),
  };
}
