import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Interrupted } from '../../../interfaces/cli/exit-codes.ts';
import { type Ran, runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { bin } from '../../support/fieldlog-process.ts';
import { httpClient } from '../../support/http-client.ts';
import { ownEnvironment } from '../../support/own-environment.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

const day = Date.UTC(2026, 0, 1);
const many = 30_000;
/** Before this there are few enough to be imported again and again. */
const soon = String(day + 300_000);
const values = [0, -1.5, 5e-324, 1e21, true, false, '', '12', 'true', 'a,"b"\r\nc', 'Ä – 😀', '=1+1'];
const readings = [
  ...values.map((value, i) => ({
    deviceId: 'a',
    timestamp: day + i,
    metrics: { value, 'b.1': i, '1-0:1.8.0': i },
  })),
  { deviceId: 'a', timestamp: -1, metrics: { old: 1 } },
  { deviceId: 'b', timestamp: day, metrics: { value: 1 } },
  ...Array.from({ length: many }, (_, i) => ({
    deviceId: 'c',
    timestamp: day + i * 1000,
    metrics: { x: i, y: i / 7, note: `reading ${i}` },
  })),
];

describe('fieldlog export', function () {
  this.timeout(120_000);
  let served: ServedFolder;
  let folder: string;
  const file = (name: string) => path.join(folder, name);

  before(async () => {
    served = await servedFolder();
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-export-'));
    const call = httpClient(served.url);
    for (const [deviceId, type] of [
      ['a', 'meter'],
      ['b', 'boiler'],
      ['c', 'meter'],
    ])
      await call('POST', '/api/v1/devices', {
        json: { deviceId, name: 'D', type, labels: { site: `of ${deviceId}` } },
      });
    let positions = '';
    for (let from = 0; from < readings.length; from += 5000) {
      const sent = await call('POST', '/api/v1/telemetry', { json: readings.slice(from, from + 5000) });
      positions = sent.json.positions.join();
    }
    await call('GET', `/api/v1/devices/c/telemetry?limit=1&waitFor=${positions}&timeout=30s`);
    await eventually(async () => assert.equal((await call('GET', '/api/v1/devices')).json.devices.length, 3));
  });
  after(async () => {
    await served.close();
    await rm(folder, { recursive: true });
  });

  /** On the stores themselves, beside the server; or through it. */
  const ways = {
    stores: (...args: string[]) => runCli(['export', ...args], { env: { DATA_DIR: served.folder } }),
    server: (...args: string[]) => runCli(['export', ...args, '--url', served.url]),
  };

  for (const [way, exported] of Object.entries(ways))
    describe(`from the ${way}`, () => {
      const text = async (...args: string[]): Promise<string> => {
        const { code, out, err } = await exported('-', ...args);
        assert.equal(code, 0, err);
        return out;
      };
      const lines = async (...args: string[]) =>
        (await text('--format', 'ndjson', ...args))
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line));

      it('writes what the API answers, for one device and for all', async () => {
        const call = httpClient(served.url);
        const answer = await call('GET', '/api/v1/telemetry?limit=1000000', {
          headers: { Accept: 'text/csv' },
        });
        assert.equal(await text('--format', 'csv'), answer.text);
        const { points } = (await call('GET', '/api/v1/devices/a/telemetry')).json;
        assert.deepEqual(
          (await lines('--device', 'a')).map(({ deviceId, ...point }) => {
            assert.equal(deviceId, 'a');
            return point;
          }),
          points,
        );
      });

      it('selects by device, filter, metric and time', async () => {
        const ids = async (...args: string[]) => [
          ...new Set((await lines(...args)).map(({ deviceId }) => deviceId)),
        ];
        assert.deepEqual(await ids('--device', 'b', '--device', 'a'), ['b', 'a']);
        assert.deepEqual(await ids('--type', 'meter', '--to', '2026-01-02T00:00Z'), ['a', 'c']);
        assert.deepEqual(await ids('--label', 'site=of b'), ['b']);
        assert.deepEqual(await lines('--device', 'a', '--to', '1970-01-01T00:00Z'), [
          { deviceId: 'a', timestamp: '1969-12-31T23:59:59.999Z', metric: 'old', value: 1 },
        ]);
        const some = await lines('--metric', '1-0:1.8.0', '--from', String(day + 3), '--to', String(day + 5));
        assert.deepEqual(
          some.map(({ value }) => value),
          [3, 4],
        );
      });

      for (const format of ['csv', 'ndjson', 'parquet'])
        it(`to ${format} comes back by an import as it was`, async () => {
          const name = file(`${way}.${format}`);
          assert.equal((await exported(name, '--to', soon)).code, 0);
          assert.ok(!existsSync(`${name}.part`) && !existsSync(`${name}.part.json`));
          const other = await mkdtemp(path.join(tmpdir(), 'fieldlog-export-'));
          try {
            const env = { DATA_DIR: other };
            const imported = await runCli(['import', name, '--json'], { env });
            assert.equal(imported.code, 0, imported.err);
            const back = await runCli(['export', '-', '--format', 'ndjson'], { env });
            assert.equal(back.out, await text('--format', 'ndjson', '--to', soon));
          } finally {
            await rm(other, { recursive: true });
          }
        });

      for (const format of ['csv', 'parquet'])
        it(`continues with ${format} where it was stopped, whatever a kill left behind`, async () => {
          const [whole, name] = [file(`${way}-whole.${format}`), file(`${way}-stopped.${format}`)];
          await exported(whole);
          const stopped = await stoppedExport(way as keyof typeof ways, name);
          assert.equal(stopped.code, 130, stopped.err);
          assert.match(stopped.err, /--resume continues the export/);
          assert.ok(!existsSync(name));
          await appendFile(`${name}.part`, 'a torn li');

          assert.equal((await exported(name)).code, 2, 'begins anew unasked');
          assert.equal(
            (await exported(name, '--resume', '--metric', 'x')).code,
            2,
            'continues with another query',
          );
          const { code, out } = await exported(name, '--resume', '--json');
          assert.equal(code, 0);
          const report = JSON.parse(out);
          assert.ok(report.resumed > 0 && report.resumed < report.points, out);
          assert.deepEqual(await readFile(name), await readFile(whole));
        });
    });

  async function stoppedExport(way: keyof typeof ways, name: string): Promise<Ran> {
    const stop = new AbortController();
    const args = way === 'server' ? ['--url', served.url] : [];
    const env = { DATA_DIR: served.folder };
    const running = runCli(['export', name, ...args], { env, signal: stop.signal });
    await eventually(() => assert.ok(existsSync(`${name}.part.json`)), { every: 1 });
    stop.abort(new Interrupted('SIGINT'));
    return running;
  }

  it('says that its file cannot be written, and continues once it can', async () => {
    const [whole, name] = [file('whole.csv'), file('full.csv')];
    await ways.server(whole);
    // A file that may not grow further fails as on a full disk: of 3 MB here, 2 MB are written.
    const limited = promisify(execFile)(
      'sh',
      ['-c', 'ulimit -f 4096; exec "$@"', 'sh', process.execPath, bin, 'export', name, '--url', served.url],
      { env: ownEnvironment },
    );
    const { code, stderr } = await limited.catch((error) => error);
    assert.equal(code, 3, stderr);
    assert.match(stderr, /full\.csv\.part has [1-9][\d,]* points: --resume continues the export/);
    assert.match(stderr, /full\.csv cannot be written: /);
    assert.ok(!existsSync(name));
    assert.equal((await ways.server(name, '--resume')).code, 0);
    assert.deepEqual(await readFile(name), await readFile(whole));
  });

  it('says what is wrong before it writes anything', async () => {
    await writeFile(file('there.csv'), 'mine');
    await writeFile(file('other.csv.part'), 'mine');
    for (const [args, message] of [
      [[file('there.csv')], /is there already: name another file, or overwrite it with --force/],
      [[file('x.txt')], /does not end with \.csv, \.ndjson or \.parquet/],
      [['-', '--format', 'parquet'], /Parquet is written to a file/],
      [[file('x.csv'), '--device', 'a', '--type', 'meter'], /leave --status, --type, --label and --q out/],
      [[file('x.csv'), '--from', '2026-01-01T00:00:00'], /no offset from UTC: add Z/],
      [[file('x.csv'), '--from', '5', '--to', '5'], /--to must be later than --from/],
      [[path.join(folder, 'no', 'x.csv')], /cannot be written/],
      [[file('other.csv')], /other\.csv\.part is there already, and no note of an export/],
      [[file('other.csv'), '--resume'], /other\.csv\.part is there already, and no note of an export/],
    ] as const) {
      const { code, err } = await ways.stores(...args);
      assert.equal(code, 2, err);
      assert.match(err, message);
    }
    for (const mine of ['there.csv', 'other.csv.part'])
      assert.equal(await readFile(file(mine), 'utf8'), 'mine');
    for (const exported of Object.values(ways)) {
      const unknown = await exported('-', '--format', 'csv', '--device', 'nobody');
      assert.equal(unknown.code, 1);
      assert.match(unknown.err, /Device nobody is not registered/);
    }
  });
});
