import type { DatabaseSync } from 'node:sqlite';
import type { ApiKeys } from '../../application/ports/api-keys.ts';
import { StorageFault } from '../../application/ports/storage.ts';
import { boundsJson, keyColumns, type StoredKey, scopesText, storedKey } from '../sql/api-keys.ts';
import { StartupError } from '../startup-error.ts';
import { openForReading, openSqliteFile, type SqliteFile } from './database-file.ts';
import { isTaken, keysError } from './errors.ts';

/** Few rows that hardly ever change: without a write-ahead log, the file alone is always whole. */
const accessFile = (path: string): SqliteFile => ({
  path,
  journal: 'DELETE',
  synchronous: 'FULL',
  pageBytes: 4096,
  checkpointBytes: 4096,
  cache: 256,
  migrations: [
    `CREATE TABLE api_keys (
       name TEXT NOT NULL PRIMARY KEY,
       hash TEXT NOT NULL,
       scopes TEXT NOT NULL,
       created_at INTEGER NOT NULL,
       expires_at INTEGER,
       revoked_at INTEGER
     ) STRICT;`,
    'ALTER TABLE api_keys ADD COLUMN bound_to TEXT',
  ],
});

/** What SQLite threw. */
const causeOf = (error: unknown): unknown =>
  error instanceof StartupError || error instanceof StorageFault ? causeOf(error.cause) : error;

/**
 * ApiKeys in a file of their own, which nothing rebuilds or drops. Opened for each call, so that a file put in its
 * place counts at once. Throws `StartupError`.
 */
export function sqliteApiKeys(path: string): ApiKeys {
  openSqliteFile(accessFile(path)).close();

  return {
    list: async () =>
      using(openForReading, (db) => {
        const rows = db.prepare(`SELECT ${keyColumns} FROM api_keys ORDER BY name`).all();
        return (rows as unknown as StoredKey[]).map(storedKey);
      }),

    add: async (key) =>
      writing((db) => {
        const { name, hash, createdAt, expiresAt, revokedAt } = key;
        try {
          db.prepare('INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?)').run(
            name,
            hash,
            scopesText(key),
            createdAt,
            expiresAt,
            revokedAt,
            boundsJson(key),
          );
          return true;
        } catch (error) {
          if (isTaken(error)) return false;
          throw error;
        }
      }),

    revoke: async (name, at) =>
      writing((db) => {
        const revoked = db.prepare('UPDATE api_keys SET revoked_at = ifnull(revoked_at, ?) WHERE name = ?');
        return revoked.run(at, name).changes > 0;
      }),
  };

  function writing<T>(work: (db: DatabaseSync) => T): T {
    return using(() => openSqliteFile(accessFile(path), { create: false }), work);
  }

  function using<T>(open: (path: string) => DatabaseSync, work: (db: DatabaseSync) => T): T {
    try {
      const db = open(path);
      try {
        return work(db);
      } finally {
        db.close();
      }
    } catch (error) {
      throw keysError(causeOf(error), path);
    }
  }
}
