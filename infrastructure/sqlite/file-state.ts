import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';

/** What a file was at, by name. Can be sent to other threads. */
export type Marks = ReadonlyMap<string, string>;

/**
 * How far the file of a database has come, without its write-ahead log. Only checkpoints write to the file, and none of
 * them takes anything back: where marks are lost, another file was copied over it.
 */
export type FileState = {
  read(file: DatabaseSync): Marks;
  /** Whether the file is at the marks or beyond them. */
  reaches(file: DatabaseSync, marks: Marks): boolean;
};

/** Of a log, which only grows. `last` finds its last position, `idAt` what is at one. */
function stateOfLog(last: string, idAt: string): FileState {
  const idOf = (file: DatabaseSync, at: string) =>
    String(
      (at === 'log' ? file.prepare('SELECT id FROM log_identity').get() : file.prepare(idAt).get(at))?.id,
    );
  return {
    read(file) {
      const end = file.prepare(last).get();
      const marked = end ? ['log', String(end.position)] : ['log'];
      return new Map(marked.map((at) => [at, idOf(file, at)]));
    },
    reaches: (file, marks) => [...marks].every(([at, id]) => idOf(file, at) === id),
  };
}

export const stateOfEvents = stateOfLog(
  'SELECT position FROM events ORDER BY position DESC LIMIT 1',
  'SELECT id FROM events WHERE position = ?',
);

/** A publication's JSON begins with its id. */
export const stateOfTelemetry = stateOfLog(
  'SELECT first_offset AS position FROM batches ORDER BY first_offset DESC LIMIT 1',
  'SELECT count || substr(body, 1, 200) AS id FROM batches WHERE first_offset = ?',
);

/** Generations come and go, each with a change of the schema; until then no checkpoint goes back. */
export const stateOfReadModels: FileState = {
  read: positionsIn,
  reaches(file, marks) {
    const found = positionsIn(file);
    const [schema, before] = [found, marks].map((one) => Number(one.get('schema')));
    if (schema !== before) return Number(schema) > Number(before);
    return [...marks].every(([at, position]) => !isBefore(found.get(at), position));
  },
};

function positionsIn(file: DatabaseSync): Marks {
  const schema = file.prepare('PRAGMA schema_version').get()?.schema_version;
  const rows = file
    .prepare("SELECT projection || ' ' || generation || ' ' || part AS at, position FROM checkpoints")
    .all() as { readonly at: string; readonly position: string | null }[];
  const positions = rows.flatMap(({ at, position }) => (position === null ? [] : [[at, position] as const]));
  return new Map([['schema', String(schema)], ...positions]);
}

/** Where they can be compared: positions of every log begin with a number that grows. */
function isBefore(position: string | undefined, other: string): boolean {
  const [a, b] = [position, other].map((one) => /^\d+/.exec(one ?? '')?.[0]);
  return a !== undefined && b !== undefined && BigInt(a) < BigInt(b);
}

/**
 * Runs work on what is in the file itself. Without locks: it may meet a checkpoint that is not finished, and fail.
 * Not read by `node:fs`, which would give up the locks that this process has on the file.
 */
export function onFileAlone<T>(path: string, work: (file: DatabaseSync) => T): T {
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  const file = new DatabaseSync(url, { readOnly: true });
  try {
    return work(file);
  } finally {
    file.close();
  }
}
