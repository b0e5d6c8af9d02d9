import type { SqliteFile } from './sqlite-file.ts';

/**
 * A row is a whole publication, as JSON: what a request brought costs one insert. Its events' positions are
 * `first_offset`, `first_offset + 1` and so on, counted from 1 without a gap.
 */
export const telemetryFile = (path: string): SqliteFile => ({
  path,
  synchronous: 'FULL',
  // Rows are long and only ever added: large pages halve what a commit costs.
  pageBytes: 32_768,
  checkpointBytes: 8 * 1024 * 1024,
  cache: 8192,
  migrations: [
    `CREATE TABLE batches (
       first_offset INTEGER PRIMARY KEY,
       count INTEGER NOT NULL,
       body TEXT NOT NULL
     ) STRICT;`,
  ],
});

/** The last row's offset and count, from which the next offset follows. */
export const lastBatch = 'SELECT first_offset, count FROM batches ORDER BY first_offset DESC LIMIT 1';
