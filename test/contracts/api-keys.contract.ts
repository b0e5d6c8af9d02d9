import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { ApiKey, ApiKeys } from '../../application/ports/api-keys.ts';
import type { Opened } from './opened.ts';

/** What every ApiKeys must do. */
export function apiKeysContract(adapter: string, open: () => Promise<Opened<{ readonly keys: ApiKeys }>>) {
  describe(`${adapter} honours ApiKeys`, function () {
    this.timeout(60_000);
    let opened: Opened<{ readonly keys: ApiKeys }>;
    let keys: ApiKeys;

    before(async () => {
      opened = await open();
      keys = opened.keys;
    });
    after(() => opened?.close());

    const key = (replaced: Partial<ApiKey> = {}): ApiKey => ({
      name: `key-${randomUUID()}`,
      hash: 'ab'.repeat(32),
      scopes: ['telemetry:write', 'operate'],
      only: null,
      createdAt: 1_774_746_000_001,
      expiresAt: 1_774_746_000_002,
      revokedAt: null,
      ...replaced,
    });
    const find = async ({ name }: ApiKey) => (await keys.list()).find((one) => one.name === name);

    it('lists what was added, in order of name', async () => {
      const [second, first] = [key({ name: 'b.2', expiresAt: null }), key({ name: 'B.1' })];
      assert.deepEqual([await keys.add(second), await keys.add(first)], [true, true]);
      const listed = (await keys.list()).filter(({ name }) => /^b\.\d$/i.test(name));
      assert.deepEqual(
        listed.map((one) => ({ ...one })),
        [first, second],
      );
    });

    it('keeps the devices that a key is for', async () => {
      const only = { idPrefix: 'a-', type: 'Pumpe Ω', labels: { 'customer.id': 'a "b" \\ ', site: '' } };
      const bound = key({ only });
      await keys.add(bound);
      assert.deepEqual({ ...(await find(bound)) }, bound);
    });

    it('gives a name once, though the key that had it was revoked', async () => {
      const first = key();
      await keys.add(first);
      assert.equal(await keys.add({ ...key(), name: first.name, scopes: ['operate'] }), false);
      await keys.revoke(first.name, 5);
      assert.equal(await keys.add({ ...key(), name: first.name }), false);
      assert.deepEqual({ ...(await find(first)) }, { ...first, revokedAt: 5 });
    });

    it('takes names that differ in case for different names', async () => {
      const lower = key({ name: `case-${randomUUID()}` });
      assert.equal(await keys.add(lower), true);
      assert.equal(await keys.add({ ...lower, name: lower.name.toUpperCase() }), true);
      assert.equal(await keys.revoke(lower.name, 7), true);
      assert.equal((await find({ ...lower, name: lower.name.toUpperCase() }))?.revokedAt, null);
    });

    it('keeps the time of the first revocation', async () => {
      const revoked = key();
      await keys.add(revoked);
      assert.deepEqual(
        [await keys.revoke(revoked.name, 8), await keys.revoke(revoked.name, 9)],
        [true, true],
      );
      assert.equal((await find(revoked))?.revokedAt, 8);
    });

    it('knows of no key that was never added', async () => {
      assert.equal(await keys.revoke('nobody', 1), false);
      assert.equal(await find(key({ name: 'nobody' })), undefined);
    });
  });
}
