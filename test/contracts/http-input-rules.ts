import assert from 'node:assert/strict';
import fc from 'fast-check';
import { anyJson, anyName, anyQuery, anySegment, mangled } from '../support/any-input.ts';
import type { Call, Reply } from '../support/http-client.ts';
import { runs } from '../support/runs.ts';
import type { HttpSubject } from './http.contract.ts';

/** Every field of every call may be anything at all: the answer is what it deserves, and never a failure. */
export function httpInputRules({ unchecked: call, fresh }: HttpSubject): void {
  const id = fresh('never');
  const address = `/api/v1/devices/${id}`;
  const registration = {
    deviceId: `"${id}"`,
    name: '"A name"',
    type: '"test"',
    labels: '{"site":"here"}',
  };
  const reading = { deviceId: `"${id}"`, timestamp: '"2026-01-01T00:00:00Z"', metrics: '{"temp":1}' };

  describe(`any input at all, in ${runs(3000)} requests`, () => {
    /** Either a success that the input deserved, or a problem that says what is wrong and where. */
    async function answers(method: string, path: string, sent: Call = {}): Promise<Reply> {
      const answer = await call(method, path, sent);
      const { status, headers, json } = answer;
      assert.ok(status < 500, `${method} ${path} ${sent.body}: ${answer.text}`);
      if (status < 400) return answer;
      assert.equal(headers.get('Content-Type'), 'application/problem+json');
      assert.equal(json.status, status);
      if (json.type.endsWith('/invalid-request')) {
        assert.ok(json.errors.length > 0);
        for (const { path, detail } of json.errors)
          assert.ok(typeof path === 'string' && detail.length > 0, answer.text);
      }
      return answer;
    }

    /** When one wrong field is reported, it is that one. */
    function namesField({ status, json }: Reply, field: string, within = ''): void {
      if (status !== 400 || !json.type.endsWith('/invalid-request')) return;
      const pointer = `${within}/${field.replaceAll('~', '~0').replaceAll('/', '~1')}`;
      const paths = json.errors.map(({ path }: { path: string }) => path);
      assert.ok(
        paths.every((path: string) => path === pointer || path.startsWith(`${pointer}/`)),
        `${pointer} is wrong, reported: ${paths}`,
      );
    }

    it('to register a device', () =>
      fc.assert(
        fc.asyncProperty(mangled(registration), async ({ field, text }) =>
          namesField(await answers('POST', '/api/v1/devices', { body: text }), field),
        ),
        { numRuns: runs(300) },
      ));

    it('to change, suspend, reinstate or decommission one', () => {
      const calls = [
        { method: 'PATCH', action: '', right: { name: '"A name"', type: '"test"', labels: '{}' } },
        { method: 'POST', action: '/suspend', right: { reason: '"why"' } },
        { method: 'POST', action: '/reinstate', right: {} },
        { method: 'POST', action: '/decommission', right: { reason: '"why"' } },
      ];
      const mangledCall = fc.oneof(
        ...calls.map(({ method, action, right }) =>
          mangled(right).map((body) => ({ method, action, ...body })),
        ),
      );
      return fc.assert(
        fc.asyncProperty(mangledCall, async ({ method, action, field, text }) =>
          namesField(await answers(method, `${address}${action}`, { body: text }), field),
        ),
        { numRuns: runs(200) },
      );
    });

    it('to register many', () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.oneof(
              mangled(registration).map(({ text }) => text),
              anyJson,
            ),
          ),
          async (items) => {
            const { status, json } = await answers('POST', '/api/v1/devices/bulk', { body: `[${items}]` });
            if (status !== 200) return;
            assert.deepEqual(
              json.outcomes.map(({ index }: { index: number }) => index),
              items.map((_, index) => index),
            );
          },
        ),
        { numRuns: runs(100) },
      ));

    it('to send readings', () =>
      fc.assert(
        fc.asyncProperty(mangled(reading), fc.boolean(), async ({ field, text }, inArray) => {
          const answer = await answers('POST', '/api/v1/telemetry', { body: inArray ? `[${text}]` : text });
          if (!inArray) namesField(answer, field);
          else if (answer.status === 400) assert.ok(answer.json.errors[0].path.startsWith('/0'), answer.text);
        }),
        { numRuns: runs(500) },
      ));

    it('as a rule, of each kind', () => {
      const common = { name: '"A name"', selector: '{}', metric: '"temp"', severity: '"info"', notify: '[]' };
      const fields = [
        { kind: '"range"', above: '1', clearAbove: '1', for: '"5m"', count: '2', maxGap: '"1h"' },
        { kind: '"rate"', below: '-1', reset: 'true' },
        { kind: '"stuck"', for: '"5m"', tolerance: '0.1' },
        { kind: '"silent"', for: '"5m"' },
        { kind: '"novel"', sensitivity: '0.1' },
      ];
      const anyRule = fc.oneof(...fields.map((own) => mangled({ ...own, ...common })));
      // Checked as one that is created, and in force for nobody.
      const range = '"from":"2000-01-01T00:00:00Z","to":"2000-01-02T00:00:00Z"';
      return fc.assert(
        fc.asyncProperty(anyRule, async ({ field, text }) => {
          const body = `{"rule":${text},${range}}`;
          const answer = await answers('POST', '/api/v1/rules/preview', { body });
          // Another bound may be the one that no longer fits.
          if (!/^(clear)?(Above|Below)$/i.test(field)) namesField(answer, field, '/rule');
        }),
        { numRuns: runs(300) },
      );
    });

    it('as names and values of metrics', () =>
      fc.assert(
        fc.asyncProperty(anyName, anyJson, async (metric, json) => {
          const body = `{"deviceId":"${id}","metrics":{${JSON.stringify(metric)}:${json}}}`;
          namesField(await answers('POST', '/api/v1/telemetry', { body }), 'metrics');
        }),
        { numRuns: runs(300) },
      ));

    it('as a whole body, of any bytes', () =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom(
            '/api/v1/devices',
            '/api/v1/devices/bulk',
            '/api/v1/telemetry',
            '/api/v1/devices/x/suspend',
          ),
          fc.oneof(
            fc.uint8Array({ maxLength: 40 }),
            anyJson.map((json) => new TextEncoder().encode(json)),
          ),
          fc.constantFrom('application/json', 'application/x-ndjson', 'text/csv'),
          async (path, bytes, type) => {
            const body = Uint8Array.from(bytes);
            const { status } = await answers('POST', path, { body, headers: { 'Content-Type': type } });
            assert.ok(status >= 400 || status === 200, String(status));
          },
        ),
        { numRuns: runs(300) },
      ));

    it('as parameters of a query', () =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom(
            ...['/api/v1/devices', address, `${address}/history`, '/api/v1/telemetry'],
            ...[`${address}/telemetry`, '/api/v1/telemetry/latest', '/health/ready', '/metrics', '/docs'],
          ),
          anyQuery,
          async (path, query) => void (await answers('GET', `${path}?${query}`)),
        ),
        { numRuns: runs(600) },
      ));

    it('as a part of an address', () =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom('GET', 'PATCH', 'POST', 'PUT'),
          anySegment,
          fc.constantFrom('', '/history', '/telemetry', '/telemetry/latest', '/suspend', '/other'),
          async (method, id, rest) => {
            await answers(method, `/api/v1/devices/${id}${rest}`);
          },
        ),
        { numRuns: runs(200) },
      ));

    it('as headers', () =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom(
            'If-Match',
            'If-None-Match',
            'Idempotency-Key',
            'Accept',
            'traceparent',
            'X-Correlation-Id',
          ),
          fc.oneof(
            fc.stringMatching(/^[ -~]{0,40}$/),
            fc.constantFrom('W/"1"', '"1", "2"', '"x"', '*', 'a'.repeat(300)),
          ),
          fc.constantFrom<[string, string]>(
            ['GET', address],
            ['GET', '/api/v1/telemetry'],
            ['PATCH', address],
          ),
          async (header, text, [method, path]) => {
            const body = method === 'PATCH' ? { body: '{"name":"A name"}' } : {};
            await answers(method, path, { headers: { [header]: text }, ...body });
          },
        ),
        { numRuns: runs(200) },
      ));
  });
}
