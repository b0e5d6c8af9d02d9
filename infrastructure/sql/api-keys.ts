import type { ApiKey, ApiKeys, Scope } from '../../application/ports/api-keys.ts';
import type { Sql, SqlDatabase } from './sql.ts';

type StoredKey = Omit<ApiKey, 'scopes'> & { readonly scopes: string };

const columns = ['name', 'hash', 'scopes', 'created_at', 'expires_at', 'revoked_at'];

/** In the database itself, never a replica of it: what is revoked must be so for everybody who looks. */
export function sqlApiKeys(db: SqlDatabase): ApiKeys {
  return {
    async list() {
      const rows = await db.all<StoredKey>(
        `SELECT name, hash, scopes, created_at AS createdAt, expires_at AS expiresAt, revoked_at AS revokedAt
         FROM api_keys ORDER BY name`,
      );
      return rows.map((row) => ({ ...row, scopes: row.scopes.split(' ') as Scope[] }));
    },

    add: ({ name, hash, scopes, createdAt, expiresAt, revokedAt }) =>
      db.transaction(async (tx) => {
        if (await isTaken(tx, name)) return false;
        await tx.write('insert', 'api_keys', columns, [
          [name, hash, scopes.join(' '), createdAt, expiresAt, revokedAt],
        ]);
        return true;
      }),

    revoke: (name, at) =>
      db.transaction(async (tx) => {
        if (!(await isTaken(tx, name))) return false;
        await tx.run('UPDATE api_keys SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL', [at, name]);
        return true;
      }),
  };
}

const isTaken = async (tx: Sql, name: string): Promise<boolean> =>
  (await tx.all('SELECT name FROM api_keys WHERE name = ?', [name])).length > 0;
