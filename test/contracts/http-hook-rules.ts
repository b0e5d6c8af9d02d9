import assert from 'node:assert/strict';
import { problemOf } from '../support/http-client.ts';
import type { HttpSubject } from './http.contract.ts';

export function httpHookRules({ call, fresh }: HttpSubject): void {
  const url = 'https://hooks.example/alarms';
  const create = async (more: object = {}) => {
    const hookId = fresh('hook');
    const answer = await call('POST', '/api/v1/hooks', { json: { hookId, url, ...more } });
    assert.equal(answer.status, 201, answer.text);
    return { hookId, path: `/api/v1/hooks/${hookId}`, answer };
  };

  describe('a hook', () => {
    it('is created with a secret that is shown once', async () => {
      const { hookId, path, answer } = await create();
      assert.match(answer.json.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
      assert.equal(answer.headers.get('Location'), path);
      const { secret, ...hook } = answer.json;
      const { kind, status, revision } = hook;
      assert.deepEqual(
        [hook.hookId, kind, status, hook.url, revision],
        [hookId, 'webhook', 'enabled', url, 0],
      );
      assert.deepEqual((await call('GET', path)).json, hook);
      const { hooks } = (await call('GET', '/api/v1/hooks')).json;
      assert.deepEqual(
        hooks.find((one: { hookId: string }) => one.hookId === hookId),
        hook,
      );
      assert.ok(!JSON.stringify(hooks).includes(secret));
    });

    it('is refused when it is wrong, with the path of what is', async () => {
      const wrong: readonly (readonly [hook: unknown, ...paths: string[]])[] = [
        [{}, '/url'],
        [{ url: 'hooks.example' }, '/url'],
        [{ url: 'ftp://hooks.example/' }, '/url'],
        [{ url: 'https://a:b@hooks.example/' }, '/url'],
        [{ url: `https://hooks.example/${'x'.repeat(2000)}` }, '/url'],
        [{ url: 'http://127.0.0.1/' }, '/url'],
        [{ url: 'http://[::ffff:10.0.0.1]/' }, '/url'],
        [{ url: 'http://169.254.169.254/latest/meta-data' }, '/url'],
        [{ url: 'http://localhost:9093/' }, '/url'],
        [{ url, secret: 'secret' }, '/secret'],
        [{ url, secret: 'whsec_c2hvcnQ=' }, '/secret'],
        [{ url, hookId: 'a b' }, '/hookId'],
        [{ url, events: [] }, '/events'],
        [{ url, kind: 'pager' }, '/kind'],
      ];
      for (const [json, ...paths] of wrong) {
        const answer = await call('POST', '/api/v1/hooks', { json });
        assert.deepEqual(problemOf(answer), [400, 'invalid-request'], JSON.stringify(json));
        const found = answer.json.errors.map(({ path }: { path: string }) => path);
        assert.deepEqual(found, paths, `${JSON.stringify(json)}: ${answer.text}`);
      }
      const { hookId } = await create();
      const again = await call('POST', '/api/v1/hooks', { json: { hookId, url } });
      assert.deepEqual(problemOf(again), [409, 'hook-already-exists']);
    });

    it('is changed, disabled, enabled and removed for good', async () => {
      const { path } = await create({ kind: 'alertmanager' });
      const changed = await call('PATCH', path, {
        json: { url: `${url}/2`, secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}` },
        headers: { 'If-Match': '"0"' },
      });
      assert.deepEqual([changed.status, changed.json.url, changed.json.revision], [200, `${url}/2`, 1]);
      assert.equal(changed.json.kind, 'alertmanager');
      const other = await call('PATCH', path, { json: { kind: 'webhook' } });
      assert.deepEqual(problemOf(other), [400, 'invalid-request']);
      assert.ok(!changed.text.includes('whsec'));
      const stale = await call('PATCH', path, { json: { url }, headers: { 'If-Match': '"0"' } });
      assert.deepEqual(problemOf(stale), [412, 'stale-revision']);
      const inner = await call('PATCH', path, { json: { url: 'http://10.0.0.1/' } });
      assert.deepEqual(problemOf(inner), [400, 'invalid-request']);
      assert.deepEqual(problemOf(await call('PATCH', path, { json: {} })), [400, 'invalid-request']);
      const set = async (action: string) => (await call('POST', `${path}/${action}`)).json.status;
      assert.deepEqual(
        [await set('disable'), await set('enable'), await set('remove'), await set('remove')],
        ['disabled', 'enabled', 'removed', 'removed'],
      );
      for (const action of ['enable', 'test'])
        assert.deepEqual(problemOf(await call('POST', `${path}/${action}`)), [409, 'hook-removed'], action);
      const { hooks } = (await call('GET', '/api/v1/hooks')).json;
      assert.ok(!hooks.some((hook: { hookId: string }) => path.endsWith(hook.hookId)));
    });

    it('has deliveries that can be listed and retried', async () => {
      const { path } = await create();
      assert.deepEqual((await call('GET', `${path}/deliveries?state=failed`)).json, { deliveries: [] });
      assert.deepEqual((await call('POST', `${path}/deliveries/retry`)).json, { retried: 0 });
      const none = await call('POST', `${path}/deliveries/retry`, { json: { deliveryId: 1_000_000_000 } });
      assert.deepEqual(problemOf(none), [404, 'not-found']);
      const odd = await call('GET', `${path}/deliveries?state=sent`);
      assert.deepEqual(problemOf(odd), [400, 'invalid-request']);
      for (const [method, missing] of [
        ['GET', '/api/v1/hooks/none'],
        ['GET', '/api/v1/hooks/none/deliveries'],
        ['POST', '/api/v1/hooks/none/deliveries/retry'],
        ['POST', '/api/v1/hooks/none/disable'],
        ['POST', '/api/v1/hooks/none/test'],
      ] as const)
        assert.deepEqual(problemOf(await call(method, missing)), [404, 'hook-not-found'], missing);
    });

    it('is named by rules, which refuse one that is not there', async () => {
      const { hookId, path } = await create();
      const selector = { deviceId: fresh('nobody') };
      const rule = { name: 'Hot', kind: 'range', above: 30, selector, notify: [hookId] };
      const created = await call('POST', '/api/v1/rules', { json: rule });
      assert.deepEqual([created.status, created.json.notify], [201, [hookId]], created.text);
      const rulePath = `/api/v1/rules/${created.json.ruleId}`;
      const unknown = { ...rule, notify: [hookId, 'none'] };
      for (const answer of [
        await call('POST', '/api/v1/rules', { json: unknown }),
        await call('PATCH', rulePath, { json: { notify: unknown.notify } }),
      ]) {
        assert.deepEqual(problemOf(answer), [400, 'invalid-request']);
        assert.equal(answer.json.errors[0].path, '/notify/1');
      }
      // A rule outlives its hook.
      await call('POST', `${path}/remove`);
      const higher = await call('PATCH', rulePath, { json: { above: 31 } });
      assert.deepEqual([higher.status, higher.json.notify], [200, [hookId]], higher.text);
      const without = await call('PATCH', rulePath, { json: { notify: null } });
      assert.deepEqual([without.status, without.json.notify], [200, undefined]);
      await call('POST', `${rulePath}/remove`);
    });
  });
}
