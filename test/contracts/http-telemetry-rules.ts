import assert from 'node:assert/strict';
import { problemOf, type Reply } from '../support/http-client.ts';
import type { HttpSubject } from './http.contract.ts';

const typeOf = ({ type }: { readonly type: string }) => type.split('/').at(-1);
export function httpTelemetryRules({ call, fresh }: HttpSubject): void {
  const send = (json: unknown) => call('POST', '/api/v1/telemetry', { json });

  async function registered(): Promise<string> {
    const deviceId = fresh('sender');
    await call('POST', '/api/v1/devices', { json: { deviceId, name: 'Sender', type: 'test' } });
    return deviceId;
  }

  async function pointsOf(deviceId: string, sent: Reply): Promise<unknown[]> {
    const answer = await call('GET', `/api/v1/devices/${deviceId}/telemetry?waitFor=${sent.json.positions}`);
    return answer.json.points;
  }

  describe('readings', () => {
    it('of a device registered the moment before are accepted and found', async () => {
      const deviceId = await registered();
      const timestamp = '2026-03-29T02:30:00.5+01:00';
      const sent = await send({ deviceId, timestamp, metrics: { temp: 20.5, on: true, mode: 'eco, "low"' } });
      assert.equal(sent.status, 202);
      assert.deepEqual([sent.json.accepted, sent.json.rejected, sent.json.errors], [1, 0, []]);
      const at = '2026-03-29T01:30:00.500Z';
      assert.deepEqual(await pointsOf(deviceId, sent), [
        { timestamp: at, metric: 'mode', value: 'eco, "low"' },
        { timestamp: at, metric: 'on', value: true },
        { timestamp: at, metric: 'temp', value: 20.5 },
      ]);
    });

    it('may carry epoch milliseconds, or no time at all', async () => {
      const deviceId = await registered();
      const before = Date.now();
      const sent = await send([
        { deviceId, timestamp: -1, metrics: { a: 1 } },
        { deviceId, metrics: { a: 2 } },
        { deviceId, metrics: { a: 3 } },
      ]);
      const points = (await pointsOf(deviceId, sent)) as { timestamp: string; value: number }[];
      assert.deepEqual(
        points.map(({ value }) => value),
        [1, 2, 3],
      );
      assert.equal(points[0]?.timestamp, '1969-12-31T23:59:59.999Z');
      const [second, third] = points.slice(1).map(({ timestamp }) => Date.parse(timestamp));
      assert.ok(second && third && second >= before - 1000 && third > second);
    });

    it('sent again with a key count once, and need timestamps for that', async () => {
      const deviceId = await registered();
      const headers = { 'Idempotency-Key': 'again' };
      const json = [
        { deviceId, timestamp: 1, metrics: { a: 1 } },
        { deviceId, timestamp: 2, metrics: { a: 2 } },
      ];
      for (let i = 0; i < 2; i += 1)
        assert.equal((await call('POST', '/api/v1/telemetry', { json, headers })).status, 202);
      const last = await send({ deviceId, timestamp: 3, metrics: { a: 3 } });
      assert.equal((await pointsOf(deviceId, last)).length, 3);
      const untimed = await call('POST', '/api/v1/telemetry', {
        json: [...json, { deviceId, metrics: { a: 4 } }],
        headers,
      });
      assert.equal(untimed.status, 400);
      assert.deepEqual(
        (untimed.json.errors as { path: string }[]).map(({ path }) => path),
        ['/2/timestamp'],
      );
      const again = await send({ deviceId, timestamp: 3, metrics: { a: 3 } });
      assert.equal((await pointsOf(deviceId, again)).length, 3);
    });

    it('are refused where only what is cut off of their times tells them apart', async () => {
      const deviceId = await registered();
      const other = await registered();
      const at = (fraction: string, of = deviceId) => ({
        deviceId: of,
        timestamp: `2026-01-01T00:00:00.${fraction}Z`,
        metrics: { a: Number(fraction) },
      });
      const sent = await send([
        at('0001'),
        at('0009'),
        at('000100'),
        at('0019'),
        at('0009', other),
        at('000'),
      ]);
      assert.deepEqual(
        (sent.json.errors as { path: string; detail: string }[]).map(({ path }) => path),
        ['/1/timestamp', '/5/timestamp'],
      );
      assert.equal((await pointsOf(deviceId, sent)).length, 2);
      assert.equal((await pointsOf(other, sent)).length, 1);
    });

    it('may have names that objects have of their own', async () => {
      const deviceId = await registered();
      const metrics = { constructor: 1, toString: 2, hasOwnProperty: 3 };
      const sent = await send({ deviceId, timestamp: 0, metrics });
      assert.deepEqual(
        (await pointsOf(deviceId, sent)).map((point) => (point as { metric: string }).metric),
        ['constructor', 'hasOwnProperty', 'toString'],
      );
    });

    it('are accepted and rejected one by one, each rejection with its reason and place', async () => {
      const deviceId = await registered();
      const suspended = await registered();
      await call('POST', `/api/v1/devices/${suspended}/suspend`, { json: { reason: 'test' } });
      const sent = await send([
        { deviceId, timestamp: 0, metrics: { a: 1 } },
        { deviceId, timestamp: 'yesterday', metrics: { a: [] }, colour: 'red' },
        { deviceId: fresh('never'), metrics: { a: 1 } },
        { deviceId: suspended, metrics: { a: 1 } },
        17,
        { deviceId, timestamp: 1, metrics: { a: 2 } },
      ]);
      assert.deepEqual([sent.status, sent.json.accepted, sent.json.rejected], [202, 2, 4]);
      assert.deepEqual(
        sent.json.errors.map((error: { index: number; path: string; type: string }) => [
          error.index,
          error.path,
          typeOf(error),
        ]),
        [
          [1, '/1/timestamp', 'invalid-request'],
          [2, '/2/deviceId', 'device-not-registered'],
          [3, '/3/deviceId', 'device-suspended'],
          [4, '/4', 'invalid-request'],
        ],
      );
      const others = sent.json.errors[0].otherFaults.map(({ path }: { path: string }) => path);
      assert.deepEqual(others.sort(), ['/1/colour', '/1/metrics/a']);
      assert.equal((await pointsOf(deviceId, sent)).length, 2);
    });

    it('of which none is accepted are answered by their common problem', async () => {
      const [deviceId, gone] = [await registered(), await registered()];
      await call('POST', `/api/v1/devices/${gone}/decommission`, { json: { reason: 'test' } });
      const reading = (of: string) => ({ deviceId: of, metrics: { a: 1 } });
      const unknown = reading(fresh('never'));
      const invalid = { deviceId, metrics: {} };
      assert.deepEqual(problemOf(await send(unknown)), [404, 'device-not-registered']);
      assert.deepEqual(problemOf(await send([unknown, unknown])), [404, 'device-not-registered']);
      assert.deepEqual(problemOf(await send(reading(gone))), [409, 'device-decommissioned']);
      assert.deepEqual(problemOf(await send([reading(gone), unknown])), [409, 'readings-refused']);
      assert.deepEqual(problemOf(await send(invalid)), [400, 'invalid-request']);
      assert.deepEqual(problemOf(await send([unknown, invalid])), [400, 'invalid-request']);
      assert.deepEqual(problemOf(await send([])), [400, 'invalid-request']);
    });

    it('of one device are refused from the moment it is suspended, and taken again once it is reinstated', async () => {
      const deviceId = await registered();
      const reading = { deviceId, metrics: { a: 1 } };
      assert.equal((await send(reading)).status, 202);
      await call('POST', `/api/v1/devices/${deviceId}/suspend`, { json: { reason: 'test' } });
      assert.deepEqual(problemOf(await send(reading)), [409, 'device-suspended']);
      await call('POST', `/api/v1/devices/${deviceId}/reinstate`);
      assert.equal((await send(reading)).status, 202);
    });
  });
}
