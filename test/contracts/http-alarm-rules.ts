import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { problemOf } from '../support/http-client.ts';
import type { HttpSubject } from './http.contract.ts';

export function httpAlarmRules({ call, pages, fresh }: HttpSubject): void {
  // Of a device that is not there: others use the same stores, and are not to be judged.
  const selector = { deviceId: fresh('nobody') };
  const range = (more: object = {}) => ({ name: 'Hot', kind: 'range', above: 30, selector, ...more });
  const create = async (more: object = {}) => {
    const ruleId = fresh('rule');
    const answer = await call('POST', '/api/v1/rules', { json: { ruleId, ...range(more) } });
    assert.equal(answer.status, 201, answer.text);
    return { ruleId, answer };
  };

  describe('a rule', () => {
    it('is created, with what was left out, and counts some seconds later', async () => {
      const { ruleId, answer } = await create({
        for: '300s',
        selector: { ...selector, labels: { site: 'cellar' } },
      });
      assert.equal(answer.headers.get('Location'), `/api/v1/rules/${ruleId}`);
      assert.equal(answer.headers.get('ETag'), '"0"');
      const { since, createdAt, changedAt, changedBy: _, ...rule } = answer.json;
      assert.equal(createdAt, changedAt);
      assert.ok(Date.parse(since) > Date.parse(createdAt));
      assert.deepEqual(rule, {
        ruleId,
        revision: 0,
        status: 'enabled',
        name: 'Hot',
        kind: 'range',
        above: 30,
        for: '5m',
        selector: { ...selector, labels: { site: 'cellar' } },
        severity: 'warning',
      });
      assert.deepEqual((await call('GET', `/api/v1/rules/${ruleId}`)).json, answer.json);
    });

    it('of each kind is created as it was sent', async () => {
      for (const rule of [
        { kind: 'range', above: 30, below: 5, clearAbove: 28, clearBelow: 6, count: 3, maxGap: '2h' },
        { kind: 'rate', below: -0.5, reset: true, for: '90s' },
        { kind: 'stuck', for: '1d', tolerance: 0.1, metric: 'temp' },
        { kind: 'silent', for: '15m', selector: { ...selector, type: 'boiler' } },
        { kind: 'novel', sensitivity: 0.1, severity: 'critical' },
      ]) {
        const answer = await call('POST', '/api/v1/rules', { json: { name: 'One', selector, ...rule } });
        assert.equal(answer.status, 201, answer.text);
        for (const [name, value] of Object.entries(rule)) assert.deepEqual(answer.json[name], value, name);
      }
    });

    it('is refused when it is wrong, with the path of everything that is', async () => {
      const wrong: readonly (readonly [rule: unknown, ...paths: readonly string[]])[] = [
        [{}, '/kind'],
        [{ name: 'x', kind: 'odd' }, '/kind'],
        [{ kind: 'range', above: 1 }, '/name'],
        [{ name: 'x', kind: 'range' }, '/above'],
        [{ name: 'x', kind: 'range', above: 1, below: 2 }, '/below'],
        [{ name: 'x', kind: 'range', above: 1, clearAbove: 2 }, '/clearAbove'],
        [{ name: 'x', kind: 'range', below: 1, clearBelow: 0 }, '/clearBelow'],
        [{ name: 'x', kind: 'range', above: 9, below: 1, clearAbove: 3, clearBelow: 4 }, '/clearAbove'],
        [{ name: 'x', kind: 'range', above: '1' }, '/above'],
        [{ name: 'x', kind: 'range', above: 1, for: '5 minutes' }, '/for'],
        [{ name: 'x', kind: 'range', above: 1, for: '0s' }, '/for'],
        [{ name: 'x', kind: 'range', above: 1, for: 300 }, '/for'],
        [{ name: 'x', kind: 'range', above: 1, count: 0 }, '/count'],
        [{ name: 'x', kind: 'range', above: 1, sensitivity: 1 }, '/sensitivity'],
        [{ name: 'x', kind: 'rate', above: 1, clearAbove: 1 }, '/clearAbove'],
        [{ name: 'x', kind: 'stuck' }, '/for'],
        [{ name: 'x', kind: 'stuck', for: '1h', tolerance: -1 }, '/tolerance'],
        [{ name: 'x', kind: 'silent', for: '367d' }, '/for'],
        [{ name: 'x', kind: 'novel', sensitivity: 0 }, '/sensitivity'],
        [{ name: 'x', kind: 'novel', severity: 'bad', metric: 'no name' }, '/severity', '/metric'],
        [
          { name: 'x', kind: 'novel', selector: { deviceId: '-', site: 1 } },
          '/selector/deviceId',
          '/selector/site',
        ],
        [{ name: 'x', kind: 'novel', ruleId: 'a b' }, '/ruleId'],
        [null, ''],
        ['novel', ''],
        [[{ name: 'x', kind: 'novel' }], ''],
        [{ name: '', kind: ['novel'] }, '/kind'],
        [{ name: 'x'.repeat(201), kind: 'novel' }, '/name'],
        [{ name: 'x', kind: 'novel', selector: 'all' }, '/selector'],
        [{ name: 'x', kind: 'novel', selector: { labels: { site: 1 } } }, '/selector/labels/site'],
        [{ name: 'x', kind: 'novel', sensitivity: 11 }, '/sensitivity'],
        [{ name: 'x', kind: 'range', above: 1e301 }, '/above'],
        [{ name: 'x', kind: 'range', above: 1, count: 1.5 }, '/count'],
        [{ name: 'x', kind: 'range', above: 1, maxGap: '-5m' }, '/maxGap'],
        [{ name: 'x', kind: 'rate', above: 1, reset: 'yes' }, '/reset'],
        [{ name: 'x', kind: 'silent', for: '1h', above: 1 }, '/above'],
      ];
      for (const [json, ...paths] of wrong) {
        const answer = await call('POST', '/api/v1/rules', { json });
        assert.deepEqual(problemOf(answer), [400, 'invalid-request'], JSON.stringify(json));
        const found = answer.json.errors.map(({ path }: { path: string }) => path);
        assert.deepEqual([...found].sort(), [...paths].sort(), `${JSON.stringify(json)}: ${answer.text}`);
      }
    });

    it('is created once, and again under the same key with the same answer', async () => {
      const { ruleId } = await create();
      const again = await call('POST', '/api/v1/rules', { json: { ruleId, ...range() } });
      assert.deepEqual(problemOf(again), [409, 'rule-already-exists']);
      const keyed = { json: range(), headers: { 'Idempotency-Key': fresh('key') } };
      const first = await call('POST', '/api/v1/rules', keyed);
      assert.deepEqual((await call('POST', '/api/v1/rules', keyed)).json, first.json);
      const other = await call('POST', '/api/v1/rules', { ...keyed, json: range({ above: 31 }) });
      assert.deepEqual(problemOf(other), [422, 'idempotency-key-reused']);
    });

    it('is changed in the fields that are sent, to what is valid as a whole', async () => {
      const { ruleId } = await create({ metric: 'temp', for: '5m' });
      const path = `/api/v1/rules/${ruleId}`;
      const changed = await call('PATCH', path, { json: { above: 40, for: null, metric: null } });
      assert.equal(changed.status, 200, changed.text);
      assert.deepEqual(
        [changed.json.above, changed.json.for, changed.json.metric, changed.json.revision],
        [40, undefined, undefined, 1],
      );
      const same = await call('PATCH', path, { json: { above: 40 } });
      assert.equal(same.json.revision, 1);
      const wrong = await call('PATCH', path, { json: { below: 50 } });
      assert.deepEqual(problemOf(wrong), [400, 'invalid-request']);
      assert.equal(wrong.json.errors[0].path, '/below');
      for (const [json, at] of [
        [{}, ''],
        [[], ''],
        [{ kind: 'stuck' }, '/above'],
        [{ above: null }, '/above'],
        [{ name: null }, '/name'],
        [{ status: 'disabled' }, '/status'],
      ] as const) {
        const refused = await call('PATCH', path, { json });
        assert.deepEqual(problemOf(refused), [400, 'invalid-request'], JSON.stringify(json));
        assert.ok(
          refused.json.errors.some((error: { path: string }) => error.path === at),
          refused.text,
        );
      }
      assert.deepEqual((await call('GET', path)).json, same.json);
      const stale = await call('PATCH', path, { json: { above: 1 }, headers: { 'If-Match': '"0"' } });
      assert.deepEqual(problemOf(stale), [412, 'stale-revision']);
    });

    it('is disabled, enabled and removed for good', async () => {
      const { ruleId } = await create();
      const path = `/api/v1/rules/${ruleId}`;
      const set = async (action: string) => (await call('POST', `${path}/${action}`)).json.status;
      assert.deepEqual(
        [
          await set('disable'),
          await set('disable'),
          await set('enable'),
          await set('remove'),
          await set('remove'),
        ],
        ['disabled', 'disabled', 'enabled', 'removed', 'removed'],
      );
      assert.deepEqual(problemOf(await call('POST', `${path}/enable`)), [409, 'rule-removed']);
      assert.deepEqual(problemOf(await call('PATCH', path, { json: { above: 1 } })), [409, 'rule-removed']);
      const listed = (await call('GET', '/api/v1/rules')).json.rules;
      assert.ok(!listed.some((rule: { ruleId: string }) => rule.ruleId === ruleId));
    });

    it('is listed at once, and missing when there is none', async () => {
      const { ruleId, answer } = await create();
      const listed = (await call('GET', '/api/v1/rules')).json.rules;
      assert.deepEqual(
        listed.find((rule: { ruleId: string }) => rule.ruleId === ruleId),
        answer.json,
      );
      assert.deepEqual(problemOf(await call('GET', '/api/v1/rules/none')), [404, 'rule-not-found']);
      assert.deepEqual(problemOf(await call('POST', '/api/v1/rules/none/disable')), [404, 'rule-not-found']);
    });

    it('is previewed over what is stored', async () => {
      const deviceId = fresh('previewed');
      await call('POST', '/api/v1/devices', { json: { deviceId, name: 'P', type: 'test' } });
      const timestamps = [0, 1, 2, 3].map((i) => new Date(Date.UTC(2026, 0, 1, 0, i)).toISOString());
      const sent = await call('POST', '/api/v1/telemetry', {
        json: timestamps.map((timestamp, i) => ({
          deviceId,
          timestamp,
          metrics: { t: [20, 31, 32, 20][i] },
        })),
      });
      const waitFor = sent.json.positions.join(',');
      const waited = await call('GET', `/api/v1/telemetry/latest?waitFor=${waitFor}`);
      assert.equal(waited.status, 200, waited.text);
      const rule = range({ selector: { deviceId } });
      const json = { rule, from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' };
      const { status, json: found, text } = await call('POST', '/api/v1/rules/preview', { json });
      assert.equal(status, 200, text);
      assert.deepEqual([found.points, found.devices, found.raised, found.isCut], [4, 1, 1, false]);
      assert.deepEqual(
        found.changes.map(({ change, at }: { change: string; at: string }) => [change, at]),
        [
          ['raised', timestamps[1]],
          ['cleared', timestamps[3]],
        ],
      );
      const wrong = await call('POST', '/api/v1/rules/preview', {
        json: { ...json, rule: { kind: 'range' } },
      });
      assert.deepEqual(problemOf(wrong), [400, 'invalid-request']);
      assert.equal(wrong.json.errors[0].path, '/rule/name');
    });
  });

  describe('an alarm', () => {
    it('is raised by a rule, acknowledged by a person, and cleared', async () => {
      const deviceId = fresh('watched');
      await call('POST', '/api/v1/devices', { json: { deviceId, name: 'W', type: 'test' } });
      const { ruleId } = await create({ selector: { deviceId }, severity: 'critical' });
      const send = async (t: number) => {
        const sent = await call('POST', '/api/v1/telemetry', { json: { deviceId, metrics: { t } } });
        assert.equal(sent.status, 202, sent.text);
        return sent.json.positions.join(',');
      };
      const alarmsOf = (query = '') => `/api/v1/alarms?deviceId=${deviceId}${query}`;
      const found = await eventually(
        async () => {
          const waitFor = await send(31.5);
          const { json, text } = await call('GET', alarmsOf(`&waitFor=${waitFor}`));
          assert.equal(json.alarms?.length, 1, text);
          return json.alarms[0];
        },
        { within: 40_000, every: 500 },
      );
      assert.deepEqual(
        [found.ruleId, found.state, found.severity, found.value, found.explanation],
        [ruleId, 'open', 'critical', 31.5, '31.5 is above 30'],
      );

      const address = `/api/v1/alarms/${found.alarmId}`;
      const acknowledged = await eventually(async () => {
        const answer = await call('POST', `${address}/acknowledge`, { json: { note: 'On my way' } });
        assert.equal(answer.status, 200, answer.text);
        return answer.json;
      });
      assert.deepEqual([acknowledged.state, acknowledged.note], ['acknowledged', 'On my way']);
      const again = await call('POST', `${address}/acknowledge`, { json: { note: 'Me too' } });
      assert.deepEqual(again.json, acknowledged);
      assert.deepEqual(await pages(alarmsOf('&state=open'), 'alarms'), [[]]);
      assert.deepEqual(await pages(alarmsOf('&state=acknowledged'), 'alarms'), [[acknowledged]]);

      const until = new Date(Date.now() + 60_000).toISOString();
      const silenced = await call('POST', `${address}/silence`, { json: { until, note: 'Maintenance' } });
      assert.deepEqual(
        [silenced.status, silenced.json.silencedUntil, silenced.json.silenceNote, silenced.json.note],
        [200, until, 'Maintenance', 'On my way'],
        silenced.text,
      );
      for (const [json, path] of [
        [{}, '/until'],
        [{ until: 'tomorrow' }, '/until'],
        [{ until, note: '' }, '/note'],
        [{ until, for: '1h' }, '/for'],
      ] as const) {
        const wrong = await call('POST', `${address}/silence`, { json });
        assert.deepEqual([...problemOf(wrong), wrong.json.errors[0].path], [400, 'invalid-request', path]);
      }

      const waitFor = await send(20);
      const cleared = await call('GET', alarmsOf(`&state=cleared&rule=${ruleId}&waitFor=${waitFor}`));
      assert.equal(cleared.json.alarms[0].clearedBy, '20 is back within at most 30');
      assert.equal(cleared.json.alarms[0].note, 'On my way');
      assert.deepEqual((await call('GET', address)).json, cleared.json.alarms[0]);
      const late = await call('POST', `${address}/clear`, { json: { note: 'Too late' } });
      assert.deepEqual([late.status, late.json], [200, cleared.json.alarms[0]]);

      const raisedAgain = await call('GET', alarmsOf(`&state=open&waitFor=${await send(33)}`));
      const [second] = raisedAgain.json.alarms;
      const byHand = await call('POST', `/api/v1/alarms/${second.alarmId}/clear`, {
        json: { note: 'Replaced' },
      });
      assert.deepEqual([byHand.status, byHand.json.state], [200, 'cleared'], byHand.text);
      assert.match(byHand.json.clearedBy, /^\S+ cleared it: Replaced$/);
      const third = await call('GET', alarmsOf(`&state=open&waitFor=${await send(34)}`));
      assert.equal(third.json.alarms.length, 1);
      assert.notEqual(third.json.alarms[0].alarmId, second.alarmId);
      // Others that use the same stores are not to be judged by it.
      await call('POST', `/api/v1/rules/${ruleId}/remove`);
    });

    it('is missing when there is none', async () => {
      const none = '/api/v1/alarms/6f1c3f0e-7f6d-5f0a-9a35-2b1d6f0c8e21';
      assert.deepEqual(problemOf(await call('GET', none)), [404, 'alarm-not-found']);
      for (const action of ['acknowledge', 'clear'])
        assert.deepEqual(problemOf(await call('POST', `${none}/${action}`)), [404, 'alarm-not-found']);
      const json = { until: '2026-03-02T06:00:00Z' };
      assert.deepEqual(problemOf(await call('POST', `${none}/silence`, { json })), [404, 'alarm-not-found']);
      assert.deepEqual(problemOf(await call('GET', '/api/v1/alarms/x')), [400, 'invalid-request']);
    });
  });
}
