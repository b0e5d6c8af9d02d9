import assert from 'node:assert/strict';
import { adoptKeys, createKey, keyRing, revokeKey } from '../../application/api-keys.ts';
import type { AccessMarker, ApiKey, ApiKeys } from '../../application/ports/api-keys.ts';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import { randomCredentials as credentials } from '../../infrastructure/identity.ts';
import { eventually } from '../support/eventually.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

describe('The key ring', () => {
  let stored: ApiKey[];
  let looks: number;
  let now: number;
  let failing: boolean;
  let marked: boolean | 'unknown';
  let revokedNames: Set<string>;
  const marker: AccessMarker = {
    async isAccessClosed() {
      if (marked === 'unknown') throw new EventStoreUnavailable('gone');
      return marked;
    },
    async closeAccess() {
      marked = true;
    },
    revokedNames: async () => revokedNames,
    async recordRevoked(names) {
      if (marked === 'unknown') throw new EventStoreUnavailable('gone');
      for (const name of names) revokedNames.add(name);
    },
  };
  const keys: ApiKeys = {
    async list() {
      looks += 1;
      if (failing) throw new ReadModelsUnavailable('gone');
      return stored;
    },
    add: () => assert.fail(),
    revoke: () => assert.fail(),
  };
  const ring = (areRequired = false) =>
    keyRing({ keys, marker }, credentials, { now: () => now }, silent, areRequired);

  beforeEach(() => {
    [stored, looks, now, failing, marked, revokedNames] = [[], 0, 1000, false, false, new Set()];
  });

  function made(name: string, replaced: Partial<ApiKey> = {}) {
    const { secret, hash } = credentials.issue('key', name);
    const key: ApiKey = {
      name,
      hash,
      scopes: ['operate'],
      only: null,
      createdAt: 0,
      expiresAt: null,
      revokedAt: null,
      ...replaced,
    };
    stored = [...stored, key];
    const shown = credentials.read(secret);
    assert.ok(shown);
    return { key, shown };
  }

  it('finds a good key, and none for the right name with another secret', async () => {
    const { key, shown } = made('a');
    const found = ring();
    await found.load();
    assert.deepEqual(await found.find(shown), key);
    looks = 0;
    assert.equal(await found.find({ ...shown, hash: credentials.hash('guessed') }), undefined);
    assert.equal(looks, 0);
  });

  it('finds no key that is revoked, or from the moment it expires', async () => {
    const revoked = made('a', { revokedAt: 1 });
    const expiring = made('b', { expiresAt: 2000 });
    const found = ring();
    await found.load();
    assert.equal(await found.find(revoked.shown), undefined);
    now = 1999;
    assert.deepEqual(await found.find(expiring.shown), expiring.key);
    now = 2000;
    assert.equal(await found.find(expiring.shown), undefined);
  });

  it('needs no key until one was made, and from then on for ever', async () => {
    const found = ring();
    await found.load();
    assert.equal(found.isAuthRequired(), false);
    made('a', { revokedAt: 1 });
    await found.load();
    assert.equal(found.isAuthRequired(), true);
  });

  it('needs a key where there was one, though all be lost with what held them', async () => {
    made('a');
    await ring().load();
    stored = [];
    const found = ring();
    await found.load();
    assert.equal(found.isAuthRequired(), true);
    assert.equal(marked, true);
  });

  it('needs a key as long as it is not known whether there was one', async () => {
    marked = 'unknown';
    const found = ring();
    assert.equal(found.isAuthRequired(), true);
    await found.load();
    assert.equal(found.isAuthRequired(), true);
    marked = false;
    await found.load();
    assert.equal(found.isAuthRequired(), false);
  });

  it('needs a key from the first start where keys are required', async () => {
    const found = ring(true);
    await found.load();
    assert.equal(found.isAuthRequired(), true);
  });

  it('is marked before its first key is made', async () => {
    const adding: ApiKeys = {
      ...keys,
      async add() {
        assert.equal(marked, true);
        return true;
      },
    };
    const asked = { name: 'a', scopes: ['operate'], expiresAt: null } as const;
    assert.ok(await createKey({ keys: adding, marker }, credentials, { now: () => now }, asked));
  });

  it('takes over the keys of an older release once: what is revoked since stays so', async () => {
    const { key } = made('a');
    const older = { list: async () => [key] };
    stored = [];
    const adding: ApiKeys = {
      ...keys,
      async add(one) {
        stored = [...stored, one];
        return true;
      },
    };
    assert.equal(await adoptKeys({ keys: adding, marker, older }), true);
    assert.deepEqual(stored, [key]);
    stored = [];
    assert.equal(await adoptKeys({ keys: adding, marker, older }), true);
    assert.deepEqual(stored, []);
  });

  it('looks for a key made a moment ago, but not for each of a flood of unknown ones', async () => {
    const found = ring();
    await found.load();
    const { key, shown } = made('new');
    looks = 1;
    assert.deepEqual(await found.find(shown), key);
    assert.equal(looks, 2);
    for (let i = 0; i < 1000; i += 1) await found.find({ kind: 'key', subject: `no-${i}`, hash: shown.hash });
    assert.equal(looks, 2);
    now += 500;
    await found.find({ kind: 'key', subject: 'no', hash: shown.hash });
    assert.equal(looks, 3);
  });

  it('keeps what was revoked refused, and reports it once, when the keys are put back to an earlier state', async () => {
    const [revoked, newer] = [made('a'), made('b')];
    const earlier = [revoked.key];
    const errors: unknown[] = [];
    const log = { ...silent, error: (fields: object) => errors.push(fields) };
    const found = keyRing({ keys, marker }, credentials, { now: () => now }, log);
    stored = [{ ...revoked.key, revokedAt: 1 }, newer.key];
    await found.load();
    stored = earlier;
    await found.load();
    await found.load();
    assert.equal(await found.find(revoked.shown), undefined);
    assert.equal(await found.find(newer.shown), undefined);
    assert.deepEqual(errors, [{ missing: ['b'], validAgain: ['a'] }]);
  });

  it('refuses a key that was revoked before it started, though the keys be put back to before that', async () => {
    const [revoked, other] = [made('a'), made('b')];
    const earlier = stored;
    stored = [{ ...revoked.key, revokedAt: 1 }, other.key];
    await ring().load();
    stored = earlier;
    const errors: unknown[] = [];
    const log = { ...silent, error: (fields: object) => errors.push(fields) };
    const found = keyRing({ keys, marker }, credentials, { now: () => now }, log);
    await found.load();
    assert.equal(await found.find(revoked.shown), undefined);
    assert.deepEqual(await found.find(other.shown), other.key);
    assert.deepEqual(errors, [{ missing: [], validAgain: ['a'] }]);
    const asked = { name: 'a', scopes: ['operate'], expiresAt: null } as const;
    stored = [];
    assert.equal(await createKey({ keys, marker }, credentials, { now: () => now }, asked), undefined);
  });

  it('records a revocation in the event store, and revokes though that be away', async () => {
    const revoked: string[] = [];
    const revoking: ApiKeys = {
      ...keys,
      async revoke(name) {
        revoked.push(name);
        return name !== 'none';
      },
    };
    const revoke = (name: string) => revokeKey({ keys: revoking, marker }, { now: () => now }, name);
    assert.deepEqual([await revoke('a'), await revoke('none')], [true, false]);
    assert.deepEqual([...revokedNames], ['a']);
    marked = 'unknown';
    assert.equal(await revoke('b'), true);
    assert.deepEqual(revoked, ['a', 'none', 'b']);
  });

  it('notices a revocation within five seconds, and continues with what it knows while it cannot look', async () => {
    const { key, shown } = made('a');
    const found = ring();
    await found.load();
    looks = 1;
    const stopped = new AbortController();
    const following = found.follow(stopped.signal);
    failing = true;
    await eventually(() => assert.ok(looks >= 2), { within: 5000 });
    assert.deepEqual(await found.find(shown), key);
    failing = false;
    stored = [{ ...key, revokedAt: now }];
    await eventually(async () => assert.equal(await found.find(shown), undefined), { within: 5000 });
    stopped.abort();
    await following;
  });
});
