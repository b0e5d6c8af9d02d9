import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { httpClient } from '../../support/http-client.ts';

const ages = ['missing', 'older', 'newer'] as const;
type Age = (typeof ages)[number];
type Served = { readonly call: ReturnType<typeof httpClient>; close(): Promise<void> };

const perDevice = 20;
/** Devices that each age of a log has, and those whose readings it has. */
const devicesOf = { missing: [], older: ['a'], newer: ['a', 'b'] } as const;

describe('Files of a store from different times', function () {
  this.timeout(60_000);
  let folder: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-mixed-'));
    for (const [age, deviceId] of [
      ['older', 'a'],
      ['newer', 'b'],
    ] as const) {
      const served = await start('data');
      await register(served, deviceId);
      await measure(served, deviceId, 0);
      await consumed(served);
      await served.close();
      await cp(path.join(folder, 'data'), path.join(folder, age), { recursive: true });
    }
  });
  after(() => rm(folder, { recursive: true }));

  async function start(name: string): Promise<Served> {
    const config = configFrom({ PORT: '0', DATA_DIR: path.join(folder, name) });
    const { url, close } = await serve(config, openLog('silent', 'serve'));
    return { call: httpClient(url), close };
  }

  async function register({ call }: Served, deviceId: string): Promise<void> {
    const json = { deviceId, name: deviceId, type: 'test' };
    assert.equal((await call('POST', '/api/v1/devices', { json })).status, 201);
  }

  async function measure({ call }: Served, deviceId: string, from: number): Promise<void> {
    const json = Array.from({ length: perDevice }, (_, n) => ({
      deviceId,
      timestamp: from + n,
      metrics: { n },
    }));
    assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
  }

  const consumed = ({ call }: Served): Promise<void> =>
    eventually(
      async () => {
        const { projections } = (await call('GET', '/api/v1/status')).json;
        for (const { lag } of projections) assert.equal(lag, 0);
      },
      { within: 20_000 },
    );

  /** Starts on files of these ages, and registers and measures one device more where it starts. */
  async function outcome(
    events: Age,
    telemetry: Age,
    readModels: Age,
  ): Promise<'no start' | 'not ready' | 'ready'> {
    const name = `${events}-${telemetry}-${readModels}`;
    await mkdir(path.join(folder, name), { mode: 0o700 });
    for (const [file, age] of [
      ['events.db', events],
      ['telemetry.db', telemetry],
      ['read-models.db', readModels],
    ] as const)
      if (age !== 'missing') await cp(path.join(folder, age, file), path.join(folder, name, file));
    let served: Served;
    try {
      served = await start(name);
    } catch (error) {
      assert.ok(error instanceof StartupError, String(error));
      assert.match(
        error.message,
        /(events|telemetry)\.db is missing, although the read models were made from it/,
      );
      return 'no start';
    }
    try {
      const ready = await served.call('GET', '/health/ready');
      await register(served, 'c');
      for (let n = 0; n < 4; n += 1) await measure(served, 'c', 1000 + n * perDevice);
      if (ready.status === 503) {
        assert.match(ready.json.detail, /has stopped at .*fieldlog projections rebuild/);
        // Not even once the log has grown past the checkpoint.
        assert.equal((await served.call('GET', '/health/ready')).status, 503);
        return 'not ready';
      }
      await consumed(served);
      const { out } = await runCli(['audit', '--json'], { env: { DATA_DIR: path.join(folder, name) } });
      const { totals, differences } = JSON.parse(out);
      assert.deepEqual(differences, []);
      const readings = perDevice * (devicesOf[telemetry].length + 4);
      assert.deepEqual([totals.accepted, totals.rows + totals.deadLettered], [readings, readings]);
      const { devices } = (await served.call('GET', '/api/v1/devices')).json;
      const ids = devices.map(({ deviceId }: { deviceId: string }) => deviceId).sort();
      assert.deepEqual(ids, [...devicesOf[events], 'c']);
      return 'ready';
    } finally {
      await served.close();
    }
  }

  for (const readModels of ages)
    for (const events of ages)
      for (const telemetry of ages) {
        // Nothing to differ from: these only build their read models anew.
        if (readModels === 'missing' && (events === 'missing' || events === telemetry)) continue;
        const logs = [events, telemetry];
        const expected =
          readModels === 'missing'
            ? 'ready'
            : logs.includes('missing')
              ? 'no start'
              : readModels === 'newer' && logs.includes('older')
                ? 'not ready'
                : 'ready';
        it(`events ${events}, telemetry ${telemetry}, read models ${readModels}: ${expected}`, async () => {
          assert.equal(await outcome(events, telemetry, readModels), expected);
        });
      }
});
