import type { DeviceBounds } from '../../application/device-bounds.ts';
import type { ApiKey, ApiKeys, Scope } from '../../application/ports/api-keys.ts';
import type { Sql, SqlDatabase } from './sql.ts';

/** As its row has it; `boundTo` is JSON. */
export type StoredKey = Omit<ApiKey, 'scopes' | 'only'> & {
  readonly scopes: string;
  readonly boundTo: string | null;
};

/** Releases that do not know of bounds find no scope of theirs in a key that has some. */
const boundMark = 'bound:';

export const scopesText = ({ scopes, only }: ApiKey): string =>
  scopes.map((scope) => (only ? `${boundMark}${scope}` : scope)).join(' ');

export const boundsJson = ({ only }: ApiKey): string | null => only && JSON.stringify(only);

export const storedKey = ({ scopes, boundTo, ...row }: StoredKey): ApiKey => ({
  ...row,
  scopes: scopes.split(' ').map((scope) => scope.replace(boundMark, '')) as Scope[],
  only: boundTo === null ? null : (JSON.parse(boundTo) as DeviceBounds),
});

export const keyColumns =
  'name, hash, scopes, bound_to AS boundTo, created_at AS createdAt, expires_at AS expiresAt, revoked_at AS revokedAt';

const columns = ['name', 'hash', 'scopes', 'bound_to', 'created_at', 'expires_at', 'revoked_at'];

/** In the database itself, never a replica of it: what is revoked must be so for everybody who looks. */
export function sqlApiKeys(db: SqlDatabase): ApiKeys {
  return {
    async list() {
      const rows = await db.all<StoredKey>(`SELECT ${keyColumns} FROM api_keys ORDER BY name`);
      return rows.map(storedKey);
    },

    add: (key) =>
      db.transaction(async (tx) => {
        const { name, hash, createdAt, expiresAt, revokedAt } = key;
        if (await isTaken(tx, name)) return false;
        await tx.write('insert', 'api_keys', columns, [
          [name, hash, scopesText(key), boundsJson(key), createdAt, expiresAt, revokedAt],
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
