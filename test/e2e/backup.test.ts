import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { runCli } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { type HttpClient, httpClient } from '../support/http-client.ts';
import { allConsumed } from '../support/running-server.ts';

describe('A backup', function () {
  this.timeout(180_000);
  let folder: string;
  let running: FieldlogProcess[];

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-backup-'));
    running = [];
  });
  afterEach(async () => {
    for (const one of running) await one.end('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  const at = (name: string) => path.join(folder, name);
  const run = (args: readonly string[], name: string) => runCli(args, { env: { DATA_DIR: at(name) } });
  async function done(args: readonly string[], name: string): Promise<string> {
    const { code, out, err } = await run(args, name);
    assert.equal(code, 0, `${args.join(' ')}: ${err}`);
    return out;
  }
  async function serve(name: string, env: Readonly<Record<string, string>> = {}) {
    const server = fieldlog(['serve'], { DATA_DIR: at(name), PORT: '0', LOG_LEVEL: 'error', ...env });
    running.push(server);
    const [, url = ''] = await server.says(/(http:\S+)/);
    return { server, call: httpClient(url) };
  }
  async function send(call: HttpClient, n: number): Promise<void> {
    const json = Array.from({ length: 200 }, (_, i) => ({
      deviceId: `d-${i % 5}`,
      timestamp: n * 1000 + i,
      metrics: { value: i, n },
    }));
    assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
  }
  async function register(call: HttpClient): Promise<void> {
    const json = Array.from({ length: 5 }, (_, i) => ({ deviceId: `d-${i}`, name: `D ${i}`, type: 'test' }));
    assert.equal((await call('POST', '/api/v1/devices/bulk', { json })).status, 200);
  }
  /** Once everything is consumed: what an audit found, and the digest of each table of each projection. */
  async function settled(call: HttpClient, name: string) {
    await allConsumed(call, 60_000);
    const { totals, differences } = JSON.parse(await done(['audit', '--json'], name));
    assert.deepEqual(differences, []);
    assert.equal(totals.rows, totals.accepted);
    const digests = [];
    for (const projection of ['devices', 'device_history', 'telemetry'])
      digests.push(JSON.parse(await done(['projections', 'digest', projection, '--json'], name)));
    return {
      accepted: totals.accepted as number,
      digests: digests.map(({ tables, positions }) => ({ tables, positions })),
    };
  }

  it('made while a server takes readings is whole, and continues in another folder as the tables say', async () => {
    const { call } = await serve('data');
    await register(call);
    let over = false;
    let sent = 0;
    const load = (async () => {
      for (; !over; sent += 1) await send(call, sent);
    })();
    for (let n = 0; n < 3; n += 1) {
      const before = sent * 200;
      const manifest = JSON.parse(await done(['backup', at(`backup-${n}`), '--json'], 'data'));
      const log = manifest.files.find(({ name }: { name: string }) => name === 'telemetry.db');
      assert.ok(log.position >= before, `${log.position} of ${before}`);
      assert.equal(statSync(at(`backup-${n}`)).mode & 0o777, 0o700);
    }
    over = true;
    await load;

    const { files } = JSON.parse(await done(['restore', at('backup-2'), '--json'], 'other'));
    for (const name of ['events.db', 'telemetry.db']) {
      const db = new DatabaseSync(at(`other/${name}`), { readOnly: true });
      const renewed = db.prepare('SELECT id FROM log_identity').get()?.id;
      db.close();
      const { identity } = files.find((file: { name: string }) => file.name === name);
      assert.match(identity, /^[0-9a-f]{32}$/);
      assert.notEqual(renewed, identity, 'positions after the backup are given again');
    }
    const other = await serve('other');
    const restored = await settled(other.call, 'other');
    for (let n = 0; n < 5; n += 1) await send(other.call, sent + n);
    const later = await settled(other.call, 'other');
    assert.equal(later.accepted, restored.accepted + 1000);
    await other.server.end('SIGTERM');
    await done(['projections', 'rebuild', 'telemetry'], 'other');
    const again = await serve('other');
    assert.deepEqual((await settled(again.call, 'other')).digests, later.digests);
  });

  it('of the logs alone brings back the same tables', async () => {
    const { server, call } = await serve('data');
    await register(call);
    for (let n = 0; n < 5; n += 1) await send(call, n);
    const before = await settled(call, 'data');
    await done(['backup', at('backup'), '--logs-only'], 'data');
    assert.ok(!existsSync(at('backup/read-models.db')));
    await server.end('SIGKILL');
    await done(['restore', at('backup')], 'other');
    const other = await serve('other');
    assert.deepEqual(await settled(other.call, 'other'), before);
  });

  it('that was killed is not there, and the next one is', async () => {
    const { call } = await serve('data');
    await register(call);
    for (let n = 0; n < 50; n += 1) await send(call, n);
    for (const wait of [/unfinished/, /read-models/, /telemetry/, /manifest/]) {
      const backup = fieldlog(['backup', at('backup')], { DATA_DIR: at('data') });
      const started = () =>
        readdirSync(folder, { recursive: true }).some(
          (name) => /unfinished/.test(String(name)) && wait.test(String(name)),
        );
      await eventually(() => assert.ok(started() || existsSync(at('backup'))), { every: 1 });
      await backup.end('SIGKILL');
      if (existsSync(at('backup'))) {
        await done(['restore', at('backup')], `whole-${wait.source}`);
        rmSync(at('backup'), { recursive: true });
      }
    }
    await done(['backup', at('backup')], 'data');
    await done(['restore', at('backup')], 'other');
    assert.ok((await settled((await serve('other')).call, 'other')).accepted >= 50 * 200);
  });

  it('whose restore was killed starts no server, until it is restored again', async () => {
    const { call } = await serve('data');
    await register(call);
    for (let n = 0; n < 20; n += 1) await send(call, n);
    await done(['backup', at('backup')], 'data');
    const restore = fieldlog(['restore', at('backup')], { DATA_DIR: at('other') });
    const begun = () => existsSync(at('other/restore.incomplete')) || existsSync(at('other/events.db'));
    await eventually(() => assert.ok(begun()), { every: 1 });
    await restore.end('SIGKILL');
    if (existsSync(at('other/restore.incomplete'))) {
      const { code, err } = await run(['serve'], 'other');
      assert.equal(code, 2);
      assert.match(err, /A restore into \S+ was cut short: run `fieldlog restore` again/);
      await done(['restore', at('backup')], 'other');
    }
    assert.equal((await settled((await serve('other')).call, 'other')).accepted, 20 * 200);
  });

  it('that is not what it was, is none, or would overwrite data is refused with the reason', async () => {
    await done(['migrate'], 'data');
    await done(['backup', at('backup')], 'data');
    const refused = async (args: readonly string[], name: string, reason: RegExp) => {
      const { code, err } = await run(args, name);
      assert.notEqual(code, 0);
      assert.match(err, reason);
    };
    await refused(
      ['restore', at('backup')],
      'data',
      /has data already \(.*events\.db.*\): move them away first/,
    );
    await refused(['backup', at('backup')], 'data', /is there already/);
    await refused(['restore', at('data')], 'other', /is no backup/);
    const bytes = readFileSync(at('backup/events.db'));
    bytes[4000] = (bytes[4000] ?? 0) ^ 1;
    writeFileSync(at('backup/events.db'), bytes);
    await refused(['restore', at('backup')], 'other', /events\.db is not what was backed up/);
    rmSync(at('backup/events.db'));
    await refused(['restore', at('backup')], 'other', /events\.db is not what was backed up/);
    assert.ok(!existsSync(at('other')));
    appendFileSync(at('backup/manifest.json'), '}');
    await refused(['restore', at('backup')], 'other', /is no backup/);
  });

  it('is made by a server on a schedule, and only the newest stay', async () => {
    const { call } = await serve('data', { BACKUP_DIR: at('backups'), BACKUP_EVERY: '1s', BACKUP_KEEP: '2' });
    const names = () =>
      existsSync(at('backups'))
        ? readdirSync(at('backups'))
            .filter((name) => /Z$/.test(name))
            .sort()
        : [];
    const first = await eventually(() => names()[0] ?? assert.fail('none yet'), { within: 30_000 });
    await eventually(() => assert.ok(names().length === 2 && !names().includes(first)), { within: 30_000 });
    const { text } = await call('GET', '/metrics');
    assert.ok(Number(/^fieldlog_backup_age_seconds (\S+)$/m.exec(text)?.[1]) < 30);
    assert.match(text, /^fieldlog_backup_interval_seconds 1$/m);
    await done(['restore', at(`backups/${names()[0]}`)], 'other');
  });
});
