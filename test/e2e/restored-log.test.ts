import assert from 'node:assert/strict';
import { access, copyFile, mkdir, mkdtemp, rename, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { projectionNames } from '../../application/projections/projection.ts';
import { runCli } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { httpClient } from '../support/http-client.ts';
import { newerRelease } from '../support/newer-release.ts';
import { allConsumed } from '../support/running-server.ts';

const sideFiles = ['-wal', '-shm'];

describe('Logs that an operator replaces', function () {
  this.timeout(120_000);
  let folder: string;
  let data: string;
  let server: FieldlogProcess | undefined;
  let call: ReturnType<typeof httpClient>;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-restored-'));
    data = path.join(folder, 'data');
  });
  afterEach(async () => {
    await server?.end('SIGTERM');
    await rm(folder, { recursive: true });
  });

  const env = () => ({ DATA_DIR: data, PORT: '0', LOG_LEVEL: 'error', PROJECTOR_STALL_MS: '12000' });

  async function start(bin?: string): Promise<void> {
    server = fieldlog(['serve'], env(), bin);
    const [, url = ''] = await server.says(/(http:\/\/\S+)/);
    call = httpClient(url);
  }

  async function stop(): Promise<void> {
    await server?.end('SIGTERM');
    server = undefined;
  }

  const command = (...args: string[]) => runCli(args, { env: env() });

  const register = async (deviceId: string) => {
    const json = { deviceId, name: deviceId, type: 'test' };
    return (await call('POST', '/api/v1/devices', { json })).status;
  };

  /** Sends readings of consecutive times, and returns the status of each request. */
  async function measure(from: number, count: number): Promise<readonly number[]> {
    const statuses: number[] = [];
    for (let n = from; n < from + count; n += 100) {
      const json = Array.from({ length: 100 }, (_, i) => ({
        deviceId: 'a',
        timestamp: n + i,
        metrics: { n: n + i },
      }));
      statuses.push((await call('POST', '/api/v1/telemetry', { json })).status);
    }
    return statuses;
  }

  const settled = () => allConsumed(call, 30_000);

  async function copyOf(file: string, to: string): Promise<void> {
    for (const suffix of sideFiles) await rm(`${to}${suffix}`, { force: true });
    for (const suffix of ['', ...sideFiles])
      await copyFile(file + suffix, to + suffix).catch((error) => {
        if (suffix === '') throw error;
      });
  }

  const ready = async () => call('GET', '/health/ready');

  it('an older telemetry log beside newer read models is not read on, and rebuilt exactly', async () => {
    await start();
    assert.equal(await register('a'), 201);
    await measure(0, 100);
    await settled();
    await stop();
    await copyOf(path.join(data, 'telemetry.db'), path.join(folder, 'older.db'));
    await start();
    await measure(100, 1000);
    await settled();
    await stop();
    await copyOf(path.join(folder, 'older.db'), path.join(data, 'telemetry.db'));

    await start();
    await eventually(() =>
      assert.match(
        server?.errors() ?? '',
        /^telemetry has stopped at 1100 .*fieldlog projections rebuild telemetry/m,
      ),
    );
    const { status, json } = await ready();
    assert.equal(status, 503);
    for (const name of ['telemetry', 'detection'])
      assert.match(json.detail, new RegExp(`projections \\(.*${name} has stopped at 1100`));
    assert.equal(json.checks.telemetryLog, 'ok');
    assert.deepEqual(new Set(await measure(10_000, 1500)), new Set([202]));
    const stopped = await call('GET', '/api/v1/projections/telemetry');
    assert.deepEqual(stopped.json.positions, ['0:1100'], 'nothing was consumed past the checkpoint');
    assert.match(stopped.json.refused, /has stopped/);
    const audit = await command('audit');
    assert.equal(audit.code, 1);
    assert.match(audit.err, /telemetry has stopped at 1100/);
    assert.equal((await call('GET', '/health/live')).status, 200);

    const rebuilt = await command('projections', 'rebuild', 'telemetry');
    assert.match(rebuilt.out, /^telemetry +1,100 +1,600 +different$/m, rebuilt.err);
    assert.match(rebuilt.out, /Switched from generation 1 to 2/);
    assert.match(
      (await command('projections', 'rebuild', 'detection')).out,
      /Switched from generation 1 to 2/,
    );
    await settled();
    await eventually(async () => assert.equal((await ready()).status, 200));
    const { text } = await call('GET', '/api/v1/devices/a/telemetry?from=0&to=100000000&limit=10000');
    assert.equal(JSON.parse(text).points.length, 1600);
    assert.equal((await command('audit')).code, 0);
  });

  it('an older event store beside newer read models is not read on, and rebuilt exactly', async () => {
    await start();
    assert.equal(await register('a'), 201);
    await settled();
    await stop();
    await copyOf(path.join(data, 'events.db'), path.join(folder, 'older.db'));
    await start();
    for (let n = 0; n < 5; n += 1) assert.equal(await register(`ghost-${n}`), 201);
    await settled();
    await stop();
    await copyOf(path.join(folder, 'older.db'), path.join(data, 'events.db'));

    await start();
    assert.equal((await ready()).status, 503);
    for (let n = 0; n < 20; n += 1) assert.equal(await register(`new-${n}`), 201);
    for (const name of ['devices', 'device_history'])
      assert.match((await command('projections', 'rebuild', name)).out, /Switched from generation 1 to 2/);
    await settled();
    await eventually(async () => assert.equal((await ready()).status, 200));
    const { json } = await call('GET', '/api/v1/devices?limit=100');
    const expected = ['a', ...Array.from({ length: 20 }, (_, n) => `new-${n}`)].sort();
    assert.deepEqual(json.devices.map(({ deviceId }: { deviceId: string }) => deviceId).sort(), expected);
  });

  for (const name of ['telemetry.db', 'events.db'])
    it(`${name} missing beside read models made from it ends the start, and none is made`, async () => {
      await start();
      await register('a');
      await measure(0, 100);
      await settled();
      await stop();
      await rename(path.join(data, name), path.join(folder, name));
      for (const suffix of sideFiles) await rm(path.join(data, name + suffix), { force: true });
      const { code, err } = await command('serve');
      assert.equal(code, 2);
      assert.match(err, new RegExp(`${name} is missing, although .*put back ${name}`));
      assert.equal((await command('audit')).code, 3);
      await assert.rejects(access(path.join(data, name)), { code: 'ENOENT' });
      await rename(path.join(folder, name), path.join(data, name));
      await start();
      assert.equal((await ready()).status, 200);
    });

  it('files deleted or replaced under a running server are answered 503, and nothing goes into them', async () => {
    await start();
    await register('a');
    await measure(0, 100);
    await settled();
    const away = path.join(folder, 'away');
    await mkdir(away);
    for (const [name, check, request] of [
      ['telemetry.db', 'telemetryLog', async () => (await measure(1000, 100))[0]],
      ['events.db', 'eventStore', () => register('b')],
      ['read-models.db', 'readModels', async () => (await call('GET', '/api/v1/devices')).status],
    ] as const) {
      await rename(path.join(data, name), path.join(away, name));
      assert.equal(await request(), 503, name);
      const { json } = await call('GET', `/health/ready?dependency=${check}`);
      assert.match(json.detail, new RegExp(`Failed: ${check}`));
      await copyFile(path.join(away, name), path.join(data, name));
      assert.equal(await request(), 503, `${name}, replaced by a copy`);
      await rm(path.join(data, name));
      await rename(path.join(away, name), path.join(data, name));
      await eventually(async () => assert.ok([200, 201, 202].includes((await request()) ?? 0), name));
    }
  });

  it('a data folder deleted under a running server is answered 503 for as long as it is gone, and not made again', async () => {
    await start();
    await register('a');
    await measure(0, 100);
    await settled();
    await rm(data, { recursive: true });
    assert.deepEqual([await register('b'), ...(await measure(1000, 100))], [503, 503]);
    const { status, json } = await ready();
    assert.equal(status, 503);
    assert.match(
      json.detail,
      /eventStore \(events\.db was deleted .*telemetryLog \(telemetry\.db was deleted/,
    );
    // Both threads have met it then.
    for (const follower of ['device directory', 'retention'])
      await eventually(() =>
        assert.match(server?.errors() ?? '', new RegExp(`${follower} does not follow the event store`)),
      );
    assert.deepEqual([await register('b'), ...(await measure(1000, 100))], [503, 503]);
    assert.equal((await call('GET', '/health/live')).status, 200);
    await stop();
    await assert.rejects(access(data), { code: 'ENOENT' });
  });

  it('a shared-memory file cut off under a running server ends it, and the next has all that was accepted', async () => {
    await start();
    assert.equal(await register('a'), 201);
    assert.deepEqual(new Set(await measure(0, 1000)), new Set([202]));
    await truncate(path.join(data, 'telemetry.db-shm'));
    const { child } = server as FieldlogProcess;
    await eventually(() => assert.equal(child.signalCode, 'SIGBUS'));
    await start();
    await settled();
    const { text } = await call('GET', '/api/v1/devices/a/telemetry?from=0&to=100000000&limit=10000');
    assert.equal(JSON.parse(text).points.length, 1000);
    assert.equal((await ready()).status, 200);
  });

  it('the release before is not ready on read models of a newer version, until they are rolled back', async () => {
    await start();
    await register('a');
    await measure(0, 100);
    await settled();
    await stop();
    const newer = await newerRelease();
    try {
      await start(newer.bin);
      await eventually(
        async () => {
          const { json } = await call('GET', '/api/v1/projections');
          const active = json.projections.map((one: { active: number }) => one.active);
          assert.deepEqual(
            active,
            projectionNames.map(() => 2),
          );
        },
        { within: 60_000 },
      );
      await stop();
      await start();
      const { status, json } = await ready();
      assert.equal(status, 503);
      assert.match(
        json.detail,
        /telemetry does not continue: its tables are of version 2 .* rollback telemetry/,
      );
      assert.match(server?.errors() ?? '', /^telemetry does not continue/m);
      assert.deepEqual(await measure(5000, 100), [202]);
      await stop();
      for (const name of projectionNames)
        assert.equal((await command('projections', 'rollback', name)).code, 0);
      await start();
      await settled();
      assert.equal((await ready()).status, 200);
    } finally {
      await newer.remove();
    }
  });
});
