import assert from 'node:assert/strict';
import { httpClient, problemOf, type Reply } from '../../support/http-client.ts';
import { httpServices, serveHttp } from '../../support/http-services.ts';

/** What is sent for a timestamp, as JSON, and what the refusal advises. */
const timestamps: readonly (readonly [json: string, advice: RegExp])[] = [
  ['"2026-01-01T00:00:00"', /no offset from UTC: add Z/],
  ['"2026-01-01T00:00:00.5"', /no offset from UTC/],
  ['"2026-01-01 00:00:00"', /no offset from UTC/],
  ['"2026-01-01"', /has no time/],
  ['"2026-01-01T00:00:00+0000"', /write \+00:00 instead of \+0000/],
  ['"2026-01-01T00:00:00+01"', /write \+00:00/],
  ['"2026-01-01t00:00:00z"', /capital T/],
  ['"2026-01-01 00:00:00Z"', /capital T/],
  ['"1559206140000"', /a number, without quotes/],
  ['"2026-01-01T00:00:60Z"', /second 60/],
  ['"2026-01-01T24:00:00Z"', /00:00 of the next day/],
  ['"2026-02-30T00:00:00Z"', /no such time/],
  ['"2026-01-01T00:00:00.1234567890Z"', /at most nine digits/],
  ['"2026-01-01T00:00:00,5Z"', /a point before the fraction/],
  ['"yesterday"', /must be ISO 8601/],
  ['1559206140000000', /microseconds: divide it by 1000/],
  ['1559206140000000000', /nanoseconds: divide it by 1000000/],
  ['1559206140000000001', /nanoseconds/],
  ['1559206140000.25', /fraction of a millisecond/],
  ['1559206140', /epoch seconds: as milliseconds it is 1970-01-19T01:06:46.140Z; multiply it by 1000/],
  ['true', /must be ISO 8601/],
  ['null', /must be ISO 8601/],
];

const values: readonly (readonly [json: string, advice: RegExp])[] = [
  ['"a\\ud800b"', /its character 2 is half of a surrogate pair/],
  [`"${'x'.repeat(600)}"`, /it has 600 characters/],
  ['9007199254740993', /no number here holds the integer 9007199254740993 exactly.*send it as text/],
  ['-18446744073709551615', /integer -18446744073709551615/],
  ['{"t":1}', /each member a metric of its own, such as bme\.temperature/],
  ['[1,2]', /each element a metric of its own/],
  ['1e301', /at most 1e\+300/],
];

describe('The error of a refused reading', () => {
  let api: Awaited<ReturnType<typeof serveHttp>>;
  let old: Awaited<ReturnType<typeof serveHttp>>;
  before(async () => {
    api = await serveHttp(httpServices().services);
    old = await serveHttp(httpServices().services, { allowOld: true });
    for (const { url } of [api, old])
      await httpClient(url)('POST', '/api/v1/devices', { json: { deviceId: 'd', name: 'D', type: 't' } });
  });
  after(() => Promise.all([api.close(), old.close()]));

  const send = (body: string, { url } = api): Promise<Reply> =>
    httpClient(url)('POST', '/api/v1/telemetry', { body });
  const withTimestamp = (json: string) => `{"deviceId":"d","timestamp":${json},"metrics":{"a":1}}`;
  const withValue = (json: string) => `{"deviceId":"d","metrics":{"a":1,"b":${json}}}`;

  function saysOnce(reply: Reply, path: string, advice: RegExp): void {
    assert.deepEqual(problemOf(reply), [400, 'invalid-request']);
    assert.equal(reply.json.errors.length, 1, reply.text);
    const [error] = reply.json.errors;
    assert.equal(error.path, path);
    assert.match(error.detail, advice);
  }

  for (const [json, advice] of timestamps)
    it(`of a timestamp ${json}`, async () => saysOnce(await send(withTimestamp(json)), '/timestamp', advice));

  for (const [json, advice] of values)
    it(`of a value ${json.slice(0, 40)}`, async () =>
      saysOnce(await send(withValue(json)), '/metrics/b', advice));

  it('of integers that a double holds, nothing', async () => {
    for (const json of [
      '9007199254740991',
      '-9007199254740992',
      '1152921504606846976',
      '1e300',
      '0.30000000000000004441',
    ])
      assert.equal((await send(withValue(json))).status, 202, json);
  });

  it('of epoch seconds, nothing where ALLOW_OLD is set', async () => {
    assert.equal((await send(withTimestamp('1559206140'), old)).status, 202);
    assert.equal((await send(withTimestamp('"1970-01-19T01:06:46.140Z"'))).status, 202);
    for (const json of ['-5', '0', '99999999', '63072000000'])
      assert.equal((await send(withTimestamp(json))).status, 202, json);
  });

  it('of null metrics, nothing while another is left', async () => {
    assert.equal((await send('{"deviceId":"d","metrics":{"a":1,"hum":null}}')).status, 202);
    saysOnce(await send('{"deviceId":"d","metrics":{"hum":null}}'), '/metrics', /whose value is not null/);
  });

  it('of NaN, that JSON has none', async () => {
    const { status, json } = await send(withValue('NaN'));
    assert.equal(status, 400);
    assert.match(json.detail, /JSON has no NaN or Infinity: send null/);
  });

  it('of names that begin with digits, dots and slashes, nothing', async () => {
    assert.equal(
      (await send('{"deviceId":"d","metrics":{"1-0:1.8.0":1,"/a/b":2,".x":3,"42":4}}')).status,
      202,
    );
    saysOnce(await send('{"deviceId":"d","metrics":{"-a":1}}'), '/metrics/-a', /not starting with : or -/);
  });
});
