import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { httpClient, problemOf } from '../support/http-client.ts';

const mount = (...args: string[]) => spawnSync('mount', args, { encoding: 'utf8' });

/** A disk of its own, in memory: only root can have one. */
function smallDisk(megabytes: number) {
  const folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-disk-'));
  const { status, stderr } = mount('-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder);
  if (status !== 0) {
    rmSync(folder, { recursive: true });
    return { missing: stderr.trim() || 'mount is not there' };
  }
  return {
    folder,
    grow: (to: number) => assert.equal(mount('-o', `remount,size=${to}m`, folder).status, 0),
    free: () => statfsSync(folder).bavail * statfsSync(folder).bsize,
    remove() {
      spawnSync('umount', ['-l', folder]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const tried = smallDisk(1);
tried.remove?.();

describe('A full disk', function () {
  this.timeout(120_000);
  if (tried.missing !== undefined) {
    if (process.env.CI && process.getuid?.() === 0)
      it('can be made for a test', () => assert.fail(tried.missing));
    else it(`is not lost on: needs root, to mount a small one (${tried.missing})`);
    return;
  }
  let disk: Extract<ReturnType<typeof smallDisk>, { folder: string }>;
  /** On a disk with room. */
  let other: string;
  let server: FieldlogProcess | undefined;
  beforeEach(() => {
    disk = smallDisk(16) as typeof disk;
    other = mkdtempSync(path.join(tmpdir(), 'fieldlog-room-'));
    server = undefined;
  });
  afterEach(async () => {
    await server?.end('SIGKILL');
    disk.remove();
    rmSync(other, { recursive: true });
  });

  /** Leaves nothing free; answers with the file that takes it. */
  function fill(): string {
    const ballast = path.join(disk.folder, 'ballast');
    for (let size = disk.free(); size > 0; size = disk.free())
      writeFileSync(ballast, Buffer.alloc(Math.min(size, 1024 * 1024)), { flag: 'a' });
    return ballast;
  }

  const data = () => path.join(disk.folder, 'data');
  async function serve(reserve: number) {
    server = fieldlog(['serve'], {
      DATA_DIR: data(),
      PORT: '0',
      DISK_RESERVE: String(reserve),
      LOG_LEVEL: 'silent',
    });
    const [, url = ''] = await server.says(/(http:\S+)/);
    return { url, call: httpClient(url) };
  }
  const batch = (n: number) =>
    Array.from({ length: 1000 }, (_, i) => ({
      deviceId: 'a',
      timestamp: n * 1000 + i,
      metrics: { one: i, two: i / 7, text: 'x'.repeat(50) },
    }));

  for (const reserve of [0, 4 * 1024 * 1024])
    it(`is reported as that with a reserve of ${reserve} bytes, and nothing accepted is lost`, async () => {
      const { call } = await serve(reserve);
      const device = { deviceId: 'a', name: 'A', type: 'test' };
      assert.equal((await call('POST', '/api/v1/devices', { json: device })).status, 201);
      let sent = 0;
      let refused = await call('POST', '/api/v1/telemetry', { json: batch(sent) });
      while (refused.status === 202 && sent < 1000) {
        sent += 1;
        refused = await call('POST', '/api/v1/telemetry', { json: batch(sent) });
      }
      assert.deepEqual(problemOf(refused), [503, 'storage-full']);
      assert.match(refused.headers.get('retry-after') ?? '', /^\d+$/);
      if (reserve > 0) {
        // What the projectors give back meanwhile is taken by somebody else.
        writeFileSync(path.join(disk.folder, 'ballast'), Buffer.alloc(Math.max(0, disk.free() - 100_000)));
        const ready = await eventually(async () => {
          const answer = await call('GET', '/health/ready');
          assert.equal(answer.status, 503);
          return answer;
        });
        assert.match(
          ready.json.detail,
          /disk \(The disk of \S+data is full: \d+ bytes are free, writes stop below 419430\. /,
        );
        const { text } = await call('GET', '/metrics');
        assert.match(text, /^fieldlog_disk_reserve_bytes 4194304$/m);
        assert.match(text, /^fieldlog_dependency_up\{dependency="disk"\} 0$/m);
        assert.ok(Number(/^fieldlog_disk_free_bytes (\d+)$/m.exec(text)?.[1]) < reserve);
      }
      disk.grow(200);
      await eventually(
        async () => {
          const again = await call('POST', '/api/v1/telemetry', { json: batch(sent) });
          assert.equal(again.status, 202);
        },
        { within: 30_000, every: 200 },
      );
      sent += 1;
      await eventually(
        async () => {
          const { json } = await call('GET', '/api/v1/audit');
          assert.deepEqual(json.totals.accepted, sent * 1000);
          assert.deepEqual([json.totals.rows, json.totals.inFlight, json.differences], [sent * 1000, 0, []]);
        },
        { within: 60_000, every: 500 },
      );
      assert.equal((await call('GET', '/health/ready')).status, 200);
    });

  it('is named by a server and by commands that start on it', async () => {
    const env = { DATA_DIR: data() };
    assert.equal((await runCli(['migrate'], { env })).code, 0);
    const ballast = fill();
    const file = path.join(other, 'in.csv');
    writeFileSync(file, 'timestamp,n\n2026-01-01T00:00:00Z,1\n');
    for (const args of [
      ['projections', 'list'],
      ['keys', 'create', '--name', 'a', '--scopes', 'operate'],
      ['serve'],
      ['check'],
      ['import', file, '--device', 'a'],
    ]) {
      const { code, err } = await runCli(args, { env: { ...env, PORT: '0' } });
      assert.equal(code, 3, `${args}: ${err}`);
      assert.match(err, /^fieldlog: .*The disk of \S+data is full: \d+ bytes are free/);
      assert.doesNotMatch(err, /Check DATA_DIR/);
    }
    rmSync(ballast);
    assert.equal((await runCli(['projections', 'list'], { env })).code, 0);
  });

  it('is named by commands that write a file to it', async () => {
    const env = { DATA_DIR: path.join(other, 'data') };
    const file = path.join(other, 'in.csv');
    writeFileSync(file, 'timestamp,n\n2026-01-01T00:00:00Z,1\nnever,2\n');
    assert.equal((await runCli(['import', file, '--device', 'a'], { env })).code, 1);
    fill();
    for (const args of [
      ['backup', path.join(disk.folder, 'backup')],
      ['export', path.join(disk.folder, 'out.csv')],
      ['import', file, '--device', 'a', '--rejects', path.join(disk.folder, 'rejects')],
    ]) {
      const { code, err } = await runCli(args, { env });
      assert.equal(code, 3, `${args}: ${err}`);
      assert.match(err, /^fieldlog: .*(the disk is full|The disk of \S+ is full: \d+ bytes are free)/m);
    }
  });
});
