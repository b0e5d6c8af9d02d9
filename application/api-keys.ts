import { pause } from './pause.ts';
import type { ApiKey, ApiKeys, Credentials, PresentedCredential, Scope } from './ports/api-keys.ts';
import type { Clock, Log } from './ports/system.ts';

/** The API keys as this node knows them: never a call away from the request that shows one. */
export type ApiKeyCache = {
  /** Reads them. Throws `ReadModelsUnavailable`. */
  load(): Promise<void>;
  /** Whether any key was ever made: from then on nothing is open, though all of them be revoked. */
  isAuthRequired(): boolean;
  /** The key shown, when it is good now. One not known here is looked for where it may just have been made. */
  find(shown: PresentedCredential): Promise<ApiKey | undefined>;
  /** Reads them again and again until `signal` is aborted. While that fails, what was read last holds. */
  follow(signal: AbortSignal): Promise<void>;
};

/** What is revoked is refused after this, and the time that reading takes, at the latest: within five seconds. */
const readEvery = 2000;
/** A flood of keys that do not exist costs the database at most one query in this time. */
const refreshEvery = 500;

export function keyRing(keys: ApiKeys, credentials: Credentials, clock: Clock, log: Log): ApiKeyCache {
  let known: ReadonlyMap<string, ApiKey> = new Map();
  let looked = Number.NEGATIVE_INFINITY;
  return { load, isAuthRequired: () => known.size > 0, find, follow };

  async function load(): Promise<void> {
    known = new Map((await keys.list()).map((key) => [key.name, key]));
  }

  async function find(shown: PresentedCredential): Promise<ApiKey | undefined> {
    if (!known.has(shown.subject) && clock.now() - looked >= refreshEvery) {
      looked = clock.now();
      await loadIfPossible();
    }
    const key = known.get(shown.subject);
    return key && isValid(key, clock.now()) && credentials.same(key.hash, shown.hash) ? key : undefined;
  }

  async function follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(readEvery, signal);
      if (!signal.aborted) await loadIfPossible();
    }
  }

  async function loadIfPossible(): Promise<void> {
    try {
      await load();
    } catch (err) {
      log.warn({ err }, 'API keys unreadable, the cached ones stay valid');
    }
  }
}

const isValid = ({ expiresAt, revokedAt }: ApiKey, now: number): boolean =>
  revokedAt === null && (expiresAt === null || now < expiresAt);

/** Creates a key and returns its secret, which is shown only here. `undefined` when the name is taken. */
export async function createKey(
  keys: ApiKeys,
  credentials: Credentials,
  clock: Clock,
  asked: { readonly name: string; readonly scopes: readonly Scope[]; readonly expiresAt: number | null },
): Promise<{ readonly key: ApiKey; readonly secret: string } | undefined> {
  const { secret, hash } = credentials.issue('key', asked.name);
  const key = { ...asked, hash, createdAt: clock.now(), revokedAt: null };
  return (await keys.add(key)) ? { key, secret } : undefined;
}
