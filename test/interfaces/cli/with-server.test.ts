import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { checkedClient } from '../../support/checked-client.ts';
import { type Ran, runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

describe('With a server', function () {
  this.timeout(60_000);
  let served: ServedFolder;
  before(async () => {
    served = await servedFolder();
  });
  after(() => served.close());

  const cli = (...args: string[]): Promise<Ran> => runCli([...args, '--url', served.url]);
  const json = async (...args: string[]) => {
    const { code, out, err } = await cli(...args, '--json');
    assert.deepEqual({ code, err }, { code: 0, err: '' });
    return JSON.parse(out);
  };

  describe('fieldlog devices', () => {
    it('registers, changes, suspends, reinstates and decommissions a device, and tells its history', async () => {
      const registered = await json(
        'devices',
        'register',
        'boiler-7',
        '--name',
        'Boiler 7',
        '--type',
        'boiler',
        '--label',
        'site=basement',
      );
      assert.equal(registered.revision, 0);
      assert.deepEqual(registered.labels, { site: 'basement' });
      assert.equal((await json('devices', 'set', 'boiler-7', '--name', 'Boiler', '--no-label')).revision, 1);
      assert.equal(
        (await json('devices', 'suspend', 'boiler-7', '--reason', 'Drifts', '--if-revision', '1')).status,
        'suspended',
      );
      assert.equal((await json('devices', 'reinstate', 'boiler-7')).status, 'active');
      assert.equal(
        (await json('devices', 'decommission', 'boiler-7', '--reason', 'Scrapped')).status,
        'decommissioned',
      );

      const before = await json('devices', 'show', 'boiler-7', '--at', '0');
      assert.equal(before.name, 'Boiler 7');
      await eventually(async () => assert.equal((await json('devices', 'history', 'boiler-7')).length, 5));
      const { out } = await cli('devices', 'history', 'boiler-7');
      assert.match(out, /^revision {2}at +event +changes +reason +actor\n/);
      assert.match(out, /\n1 .*DeviceDetailsChanged +name: Boiler 7 → Boiler; labels: site=basement → none/);
      assert.match(out, /\n2 .*DeviceSuspended +status: active → suspended +Drifts/);
    });

    it('erases a device only when asked to', async () => {
      await cli('devices', 'register', 'forgotten', '--name', 'Forgotten', '--type', 'x');
      const asked = await cli('devices', 'erase', 'forgotten', '--reason', 'r');
      assert.deepEqual([asked.code, asked.out], [2, '']);
      assert.match(asked.err, /cannot be undone: it needs --yes where no terminal can be asked/);
      assert.equal((await json('devices', 'show', 'forgotten')).status, 'active');
      assert.equal((await json('devices', 'erase', 'forgotten', '--reason', 'r', '--yes')).status, 'erased');
    });

    it('says what is wrong as JSON where the answer would be', async () => {
      for (const [args, exitCode, error] of [
        [['show', 'nobody'], 1, /nobody is not registered/],
        [['show'], 2, /missing required argument 'id'/],
        [['list', '--bogus'], 2, /unknown option '--bogus'/],
      ] as const) {
        const { code, out, err } = await cli('devices', ...args, '--json');
        assert.deepEqual([code, out], [exitCode, '']);
        const failure = JSON.parse(err);
        assert.match(failure.error, error);
        assert.equal(failure.exitCode, exitCode);
      }
    });

    it('ends with 1 and the reason when the server says no', async () => {
      await cli('devices', 'register', 'pump', '--name', 'Pump', '--type', 'pump');
      const refused: readonly (readonly [string[], RegExp])[] = [
        [['register', 'pump', '--name', 'Pump', '--type', 'pump'], /is already registered/],
        [['register', 'a/b', '--name', 'x', '--type', 'x'], /deviceId: must be a device id/],
        [['suspend', 'pump', '--reason', 'x', '--if-revision', '7'], /is at revision 0, not 7/],
        [['show', 'nobody'], /nobody is not registered/],
        [['show', 'pump', '--at', '1'], /at: must be at most 0, the newest revision of pump/],
        [['show', 'pump', '--at', 'yesterday'], /at: must be a revision, or a time/],
      ];
      for (const [args, message] of refused) {
        const { code, out, err } = await cli('devices', ...args);
        assert.deepEqual({ code, out }, { code: 1, out: '' });
        assert.match(err, message);
        assert.match(err, /^fieldlog: [^\n]+\n$/);
      }
    });

    it('lists by filter, page after page, and says when there are more', async () => {
      for (const name of ['a', 'b', 'c'])
        await cli(
          'devices',
          'register',
          `list-${name}`,
          '--name',
          `Valve\u202e ${name}`,
          '--type',
          'valve',
          '--label',
          `n=${name}`,
        );
      await eventually(async () =>
        assert.equal((await json('devices', 'list', '--type', 'valve')).length, 3),
      );
      const [one] = await json('devices', 'list', '--label', 'n=b', '--status', 'active', '--q', 'VALVE');
      assert.equal(one.deviceId, 'list-b');
      const { code, out, err } = await cli('devices', 'list', '--type', 'valve', '--limit', '2');
      assert.equal(code, 0);
      assert.match(
        out,
        /^id +status +type +name +labels\nlist-a +active +valve +Valve\\u202e a +n=a\nlist-b .*\n$/,
      );
      assert.match(err, /There are more: raise --limit 2/);
    });
  });

  it('fieldlog status tells projections and ledger, as the API describes them', async () => {
    const call = await checkedClient(served.url);
    const { status, json: answer } = await call('GET', '/api/v1/status');
    assert.equal(status, 200);
    const { projections, ledger } = await json('status');
    assert.deepEqual(Object.keys(ledger), Object.keys(answer.ledger));
    assert.deepEqual(projections.map(({ projection }: { projection: string }) => projection).sort(), [
      'detection',
      'device_history',
      'devices',
      'telemetry',
    ]);
    assert.match((await cli('status')).out, /^projection +generation +consumed up to +lag +dead letters\n/);
  });

  it('fieldlog import sends through the API, in batches that its limits allow', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-send-'));
    const file = path.join(folder, 'big.csv');
    const text = 'x'.repeat(500);
    const columns = Array.from({ length: 10 }, (_, i) => `t${i}`);
    // Ten columns of text in 3000 lines are more than a body may have, and two lines are of a device it refuses.
    const lines = Array.from(
      { length: 3000 },
      (_, i) => `sent,${Date.UTC(2026, 0, 1) + i},${columns.map(() => text)}`,
    );
    lines[10] = `gone,${Date.UTC(2026, 0, 1)},${columns.map(() => text)}`;
    lines[2500] = lines[10];
    await writeFile(file, `device,time,${columns}\n${lines.join('\n')}\n`);
    await cli('devices', 'register', 'gone', '--name', 'Gone', '--type', 'x');
    await cli('devices', 'decommission', 'gone', '--reason', 'x');
    const texts = columns.flatMap((column) => ['--text', column]);
    const { code, out } = await cli('import', file, ...texts, '--json');
    await rm(folder, { recursive: true });
    assert.equal(code, 1);
    const { accepted, refused, refusals, registered } = JSON.parse(out);
    assert.deepEqual({ accepted, refused, registered }, { accepted: 2998, refused: 2, registered: 1 });
    assert.deepEqual(
      refusals,
      [12, 2502].map((line) => ({ file, line, reason: 'Device gone is decommissioned' })),
    );
    const answer = await fetch(`${served.url}/api/v1/devices/sent/telemetry?metric=t0&limit=5000`);
    assert.equal(((await answer.json()) as { points: unknown[] }).points.length, 2998);
  });

  it('fieldlog simulate sends what it says, and finds all of it', async () => {
    const args = '--devices 20 --seconds 1 --rate 1000 --batch 1000 --duplicates 0.05 --late 0.05 --seed 3';
    const report = await json('simulate', ...args.split(' '));
    assert.deepEqual(report.differences, []);
    assert.equal(report.distinct, 1000);
    assert.equal(report.accepted, 1000 + report.sentTwice);
    assert.ok(report.sentTwice > 10 && report.sentLate > 10);
    assert.equal(report.ledger.stored, 1000);
    assert.equal(report.ledger.duplicate, report.sentTwice);
    await eventually(async () =>
      assert.equal((await json('devices', 'list', '--type', 'simulated')).length, 20),
    );
  });

  it('fieldlog simulate counts what is rejected and ends with 1', async () => {
    await cli('devices', 'register', 'sim-9-0002', '--name', 'x', '--type', 'x');
    await cli('devices', 'suspend', 'sim-9-0002', '--reason', 'x');
    const { code, out } = await cli(...'simulate --devices 4 --seconds 1 --rate 100 --seed 9'.split(' '));
    assert.equal(code, 1);
    assert.match(out, /^Sent 75 readings of 4 devices/);
    assert.match(out, /rejected 25/);
    assert.match(out, / 25: Device sim-9-0002 is suspended\n/);
    assert.match(out, /All 75 readings were found by query/);
  });

  it('fieldlog simulate tells every device of which something is missing or different', async () => {
    const lying = await lyingProxy(served.url);
    const args = `simulate --devices 5 --seconds 1 --rate 100 --seed 11 --url ${lying.url}`;
    const { code, out } = await runCli(args.split(' '));
    await lying.close();
    assert.equal(code, 1);
    assert.match(out, /3 differences:\n/);
    assert.match(
      out,
      / {2}sim-11-0002: accepted 20 readings with 80 points, found 20 readings with 79 points\n/,
    );
    assert.match(out, / {2}sim-11-0004: found other values than were accepted\n/);
    assert.match(out, / {2}the ledger has 7 fewer than the 100 readings accepted\n/);
  });
});

describe('Without a server', () => {
  it('fieldlog status reads the stores themselves', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-status-'));
    const file = path.join(folder, 'some.csv');
    await writeFile(file, 'time,temp\n2026-01-01,1\n2026-01-01,1\n2026-01-01,2\n');
    const env = { PORT: '1', DATA_DIR: path.join(folder, 'data') };
    assert.equal((await runCli(['import', file, '--device', 'a', '--overwrite'], { env })).code, 0);
    const { code, out } = await runCli(['status', '--json'], { env });
    await rm(folder, { recursive: true });
    assert.equal(code, 0);
    const { projections, ledger } = JSON.parse(out);
    assert.deepEqual(ledger, {
      stored: 1,
      duplicate: 1,
      corrected: 1,
      deadLettered: 0,
      late: 0,
      retracted: 0,
      expired: 0,
    });
    for (const { lag, deadLetters } of projections)
      assert.deepEqual({ lag, deadLetters }, { lag: 0, deadLetters: {} });
  });

  it('fieldlog says how to start one and ends with 3', async () => {
    const folder = path.join(tmpdir(), 'fieldlog-that-is-not-there');
    const env = { PORT: '1', DATA_DIR: folder };
    for (const args of [
      ['devices', 'list'],
      ['status'],
      ['simulate'],
      ['status', '--url', 'http://127.0.0.1:9'],
    ]) {
      const { code, out, err } = await runCli(args, { env });
      assert.deepEqual({ code, out }, { code: 3, out: '' });
      assert.match(err, /^fieldlog: [^\n]+\n$/);
    }
  });
});

/** Hands on to a server, but loses a point of one device, changes a value of another, and tells a ledger that is off. */
async function lyingProxy(to: string) {
  let statuses = 0;
  const server = createServer(async (req, res) => {
    const body = req.method === 'POST' ? await buffer(req) : undefined;
    const headers = Object.entries(req.headers).filter(([name]) => /^(accept|content-type)$/.test(name));
    const answer = await fetch(to + req.url, {
      method: req.method ?? 'GET',
      headers: headers.map(([name, value]) => [name, String(value)] as [string, string]),
      ...(body && { body }),
    });
    let text = await answer.text();
    if (req.url?.includes('sim-11-0002')) text = text.slice(text.indexOf('\n') + 1);
    if (req.url?.includes('sim-11-0004')) text = text.replace(/"value":\d/, '"value":-1');
    if (req.url?.endsWith('/status')) {
      statuses += 1;
      const status = JSON.parse(text);
      status.ledger.stored -= statuses > 1 ? 7 : 0;
      text = JSON.stringify(status);
    }
    res.writeHead(answer.status, { 'Content-Type': answer.headers.get('Content-Type') ?? '' }).end(text);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}
