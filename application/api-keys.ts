import { pause } from './pause.ts';
import type { AccessMarker, ApiKey, ApiKeys, Credentials, PresentedCredential } from './ports/api-keys.ts';
import { EventStoreUnavailable } from './ports/event-store.ts';
import type { Clock, Log } from './ports/system.ts';

/** The API keys as this node knows them: never a call away from the request that shows one. */
export type ApiKeyCache = {
  /** Reads them. Throws what `ApiKeys` throws. */
  load(): Promise<void>;
  /**
   * Whether any key was ever made: from then on nothing is open, though all of them be revoked or lost. So it is while
   * that cannot be found out.
   */
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

export function keyRing(
  stores: AccessStores,
  credentials: Credentials,
  clock: Clock,
  log: Log,
  areRequired = false,
): ApiKeyCache {
  let known: ReadonlyMap<string, ApiKey> = new Map();
  let looked = Number.NEGATIVE_INFINITY;
  /** `undefined` until the mark in the event store could be read. */
  let isMarked: boolean | undefined;
  let wereThere = areRequired;
  /** Names of those that were ever seen revoked: a store put back to an earlier state makes none valid again. */
  const revoked = new Set<string>();
  return { load, isAuthRequired: () => wereThere || isMarked !== false, find, follow };

  async function load(): Promise<void> {
    if (isMarked === undefined) await readMark();
    const listed = new Map((await stores.keys.list()).map((key) => [key.name, key]));
    reportOlder(listed);
    known = listed;
    wereThere ||= known.size > 0;
    for (const { name, revokedAt } of known.values()) if (revokedAt !== null) revoked.add(name);
  }

  /** Keys are added and revoked, never removed: a store without what was read before is an older one. */
  function reportOlder(listed: ReadonlyMap<string, ApiKey>): void {
    const missing = [...known.keys()].filter((name) => !listed.has(name));
    const isValidAgain = ({ name, revokedAt }: ApiKey) =>
      revokedAt === null && revoked.has(name) && known.get(name)?.revokedAt !== null;
    const validAgain = [...listed.values()].filter(isValidAgain).map(({ name }) => name);
    if (missing.length + validAgain.length > 0) log.error({ missing, validAgain }, keysOlder);
  }

  async function readMark(): Promise<void> {
    try {
      const isClosed = await adoptKeys(stores);
      for (const name of await recordRevocations(stores)) revoked.add(name);
      isMarked = isClosed;
      if (isMarked && (await stores.keys.list()).length === 0) log.error({}, keysMissing);
    } catch (err) {
      if (!(err instanceof EventStoreUnavailable)) throw err;
      log.warn({ err }, 'whether there were API keys is unknown, access stays closed');
    }
  }

  async function find(shown: PresentedCredential): Promise<ApiKey | undefined> {
    if (!known.has(shown.subject) && clock.now() - looked >= refreshEvery) {
      looked = clock.now();
      await loadIfPossible();
    }
    const key = known.get(shown.subject);
    const isGood = key && isValid(key, clock.now()) && !revoked.has(key.name);
    return isGood && credentials.same(key.hash, shown.hash) ? key : undefined;
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

const keysMissing =
  'there were API keys and they are missing, access stays closed: restore them from a backup or create new ones';

const keysOlder =
  'API keys were put back to an earlier state: those revoked since stay refused, those made since have to be made again';

const isValid = ({ expiresAt, revokedAt }: ApiKey, now: number): boolean =>
  revokedAt === null && (expiresAt === null || now < expiresAt);

/** Where keys are, and the mark that there were some. `older` is where releases before this one had them. */
export type AccessStores = {
  readonly keys: ApiKeys;
  readonly marker: AccessMarker;
  readonly older?: Pick<ApiKeys, 'list'> | undefined;
};

/**
 * Takes over the keys of an older release, once, and sets the mark where there are keys without it. May be cut short
 * anywhere and called again. Answers with whether the mark is set. Throws what the stores throw.
 */
export async function adoptKeys({ keys, marker, older }: AccessStores): Promise<boolean> {
  // Where the mark is set they have been taken over: those of the older release may have been revoked since.
  if (await marker.isAccessClosed()) return true;
  for (const key of (await older?.list()) ?? []) await keys.add(key);
  if ((await keys.list()).length === 0) return false;
  await marker.closeAccess();
  return true;
}

/** Records in the event store which keys are revoked; answers with all names that it has recorded. Throws what the stores throw. */
async function recordRevocations({ keys, marker }: AccessStores): Promise<ReadonlySet<string>> {
  const recorded = await marker.revokedNames();
  const isNew = ({ name, revokedAt }: ApiKey) => revokedAt !== null && !recorded.has(name);
  const names = (await keys.list()).filter(isNew).map(({ name }) => name);
  if (names.length > 0) await marker.recordRevoked(names);
  return new Set([...recorded, ...names]);
}

/**
 * Revokes a key where nodes see it within seconds, and records that in the event store; while that is away, the next start
 * of a server does. Answers `false` when no key has the name.
 */
export async function revokeKey(
  { keys, marker }: AccessStores,
  clock: Clock,
  name: string,
): Promise<boolean> {
  if (!(await keys.revoke(name, clock.now()))) return false;
  try {
    await marker.recordRevoked([name]);
  } catch (error) {
    if (!(error instanceof EventStoreUnavailable)) throw error;
  }
  return true;
}

/** Creates a key and returns its secret, which is shown only here. `undefined` when the name is taken. */
export async function createKey(
  { keys, marker }: AccessStores,
  credentials: Credentials,
  clock: Clock,
  {
    only = null,
    ...asked
  }: Pick<ApiKey, 'name' | 'scopes' | 'expiresAt'> & { readonly only?: ApiKey['only'] },
): Promise<{ readonly key: ApiKey; readonly secret: string } | undefined> {
  if ((await marker.revokedNames()).has(asked.name)) return undefined;
  const { secret, hash } = credentials.issue('key', asked.name);
  const key = { ...asked, only, hash, createdAt: clock.now(), revokedAt: null };
  // First, so that there is no moment in which the key could be lost and everything be open again.
  await marker.closeAccess();
  return (await keys.add(key)) ? { key, secret } : undefined;
}
