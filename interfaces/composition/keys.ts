import { createKey } from '../../application/api-keys.ts';
import type { ApiKey } from '../../application/ports/api-keys.ts';
import type { Log } from '../../application/ports/system.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { openContainer } from './container.ts';
import { services as s } from './services.ts';

/** The API keys of the configured stores, for those who give them out. */
export type Keys = {
  /** `undefined` when a key has or had the name; otherwise the secret, which is told only now. */
  create(
    asked: Pick<ApiKey, 'name' | 'scopes' | 'expiresAt'>,
  ): Promise<{ readonly key: ApiKey; readonly secret: string } | undefined>;
  /** In order of name, with those that are good no more. */
  list(): Promise<readonly ApiKey[]>;
  /** `false` when there is no such key. */
  revoke(name: string): Promise<boolean>;
  close(): Promise<void>;
};

export async function openKeys(config: Config, log: Log): Promise<Keys> {
  const container = await openContainer(config, log);
  const [keys, credentials, clock] = await Promise.all([
    container.getAsync(s.apiKeys),
    container.getAsync(s.credentials),
    container.getAsync(s.clock),
  ]);
  return {
    create: (asked) => createKey(keys, credentials, clock, asked),
    list: () => keys.list(),
    revoke: (name) => keys.revoke(name, clock.now()),
    close: () => container.unbindAllAsync(),
  };
}
