import assert from 'node:assert/strict';
import { runCli } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { httpClient } from '../support/http-client.ts';
import { type ServedFolder, servedFolder } from '../support/served.ts';

describe('A server that is to forget', function () {
  this.timeout(60_000);
  let served: ServedFolder;
  before(async () => {
    served = await servedFolder({
      LOG_LEVEL: 'silent',
      RETENTION: '[{"points": "90d"}, {"type": "boiler", "points": "1y"}]',
    });
  });
  after(() => served.close());

  it('brings its policy into force, a moment after it has started', async () => {
    const call = httpClient(served.url);
    const { policy, since } = await eventually(async () => {
      const { retention } = (await call('GET', '/api/v1/status')).json;
      assert.equal(retention.policy.length, 2);
      return retention;
    });
    assert.deepEqual(policy, [{ points: '90d' }, { type: 'boiler', points: '365d' }]);
    assert.ok(Date.parse(since) > 0);
  });

  it('erases a device, its telemetry too, and continues without a difference', async () => {
    const call = httpClient(served.url);
    const cli = (...args: string[]) => runCli([...args, '--url', served.url]);
    await cli(
      'devices',
      'register',
      'watch',
      '--name',
      'Watch of Ada',
      '--type',
      'watch',
      '--label',
      'owner=Ada',
    );
    const sent = await call('POST', '/api/v1/telemetry', {
      json: [1, 2, 3].map((pulse) => ({
        deviceId: 'watch',
        timestamp: Date.now() - pulse,
        metrics: { pulse },
      })),
    });
    assert.equal(sent.status, 202);
    const readings = `/api/v1/devices/watch/telemetry?waitFor=${sent.json.positions.join(',')}`;
    assert.equal((await call('GET', readings)).json.points.length, 3);

    const { code, out, err } = await cli('devices', 'erase', 'watch', '--reason', 'Asked for', '--yes');
    assert.equal(code, 0, err);
    assert.doesNotMatch(out, /Ada/);
    await eventually(
      async () => {
        assert.deepEqual((await call('GET', readings)).json.points, []);
        assert.deepEqual((await call('GET', '/api/v1/devices/watch/telemetry/latest')).json.points, []);
        assert.doesNotMatch(JSON.stringify((await call('GET', '/api/v1/devices/watch/history')).json), /Ada/);
      },
      { within: 45_000, every: 100 },
    );
    const audit = await call('GET', '/api/v1/audit');
    assert.equal(audit.json.differenceCount, 0);
    assert.equal(audit.json.totals.expired, 3);
  });
});
