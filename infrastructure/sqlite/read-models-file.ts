import type { SqliteFile } from './sqlite-file.ts';

/**
 * Not `FULL`: rows and the checkpoint they reach to are one transaction, so what a power failure takes back is
 * consumed from the log again. The tables themselves are the business of `infrastructure/sql/schema.ts`.
 */
export const readModelsFile = (path: string): SqliteFile => ({
  path,
  synchronous: 'NORMAL',
  // Rows of a device stand together and change together: larger pages are fewer to write.
  pageBytes: 8192,
  checkpointBytes: 80 * 1024 * 1024,
  cache: 65_536,
  migrations: [],
});
