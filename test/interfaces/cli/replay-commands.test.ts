import assert from 'node:assert/strict';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { type Ran, runCli } from '../../support/cli.ts';
import { type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

describe('The commands for operators', function () {
  this.timeout(60_000);
  let fixture: ReplayFixture;

  beforeEach(async () => {
    fixture = await replayFixture();
    await fixture.register('a');
    await fixture.measure('a', [
      [1, { n: 1 }],
      [2, { n: 2 }],
    ]);
    // Commands run in this process: one that opens a file would wait in vain for a transaction begun here.
    const { detection: _, ...others } = fixture.pipelines;
    fixture.consuming(Object.values(others));
    await fixture.consumed('telemetry');
  });
  afterEach(() => fixture.close());

  const run = (...args: string[]): Promise<Ran> => runCli(args, { env: { DATA_DIR: fixture.folder } });

  it('list projections and tell of one', async () => {
    const { code, out } = await run('projections', 'list');
    assert.equal(code, 0);
    assert.match(out, /^telemetry +1 +1 +1 +0:2 +0 +running$/m);
    const { json } = { json: JSON.parse((await run('projections', 'status', 'telemetry', '--json')).out) };
    assert.equal(json.active, 1);
    assert.match((await run('projections', 'status', 'telemetry')).out, /^1 +1 +active +- +- +\d{4}-/m);
  });

  it('rebuild with what was compared, go back, drop, and refuse what cannot be', async () => {
    const rebuilt = await run('projections', 'rebuild', 'telemetry');
    assert.equal(rebuilt.code, 0, rebuilt.err);
    assert.match(rebuilt.out, /^telemetry_ledger +1 +1 +equal$/m);
    assert.match(
      rebuilt.out,
      /Switched from generation 1 to 2 in .* fieldlog projections rollback telemetry/,
    );
    assert.match(rebuilt.err, /^Building generation 2$/m);
    assert.match(rebuilt.err, /^compare: 2 of 2 events \(100%\)/m);
    assert.equal((await run('projections', 'rollback', 'telemetry')).code, 0);

    const refused = await run('projections', 'drop', 'telemetry', '1');
    assert.equal(refused.code, 1);
    assert.match(refused.err, /Generation 1 of telemetry is the active one/);
    assert.equal((await run('projections', 'drop', 'telemetry', '2')).code, 0);
    assert.equal((await run('projections', 'switch', 'telemetry')).code, 1);
    assert.equal((await run('projections', 'rebuild', 'dreams')).code, 1);
    const wrongly = {
      throttle: ['rebuild', 'telemetry', '--throttle', 'fast'],
      generation: ['drop', 'telemetry', 'seven'],
    };
    for (const [what, words] of Object.entries(wrongly)) {
      const { code, err } = await run('projections', ...words);
      assert.equal(code, 2);
      assert.match(err, new RegExp(`${what}.*It must be a whole number from 1`));
    }
  });

  it('end with 1 when the rebuilt tables differ, and say how to take them', async () => {
    await fixture.db.run('DELETE FROM telemetry_g1 WHERE ts = 1');
    const { code, out } = await run('projections', 'rebuild', 'telemetry');
    assert.equal(code, 1);
    assert.match(out, /^telemetry +1 +2 +different$/m);
    assert.match(out, /Not switched: .* fieldlog projections switch telemetry/);
    const audit = await run('audit');
    assert.equal(audit.code, 1);
    assert.match(
      audit.out,
      /2 differences:\n.*the rollups by minute have 2: 1 too many\n {2}a on \d{4}-\d\d-\d\d: 2 rows by the ledger, the table has 1: 1 missing/,
    );
    assert.equal((await run('projections', 'switch', 'telemetry')).code, 0);
    const mended = await run('audit');
    assert.equal(mended.code, 0);
    assert.match(mended.out, /No difference\.\n$/);
  });

  it('rebuild one device in place', async () => {
    await fixture.db.run('DELETE FROM telemetry_1h_g1');
    const { code, out } = await run('projections', 'rebuild', 'telemetry', '--device', 'a');
    assert.equal(code, 0);
    assert.match(out, /replaced the rows of a in generation 1/);
    assert.equal((await fixture.db.all('SELECT * FROM telemetry_1h_g1')).length, 1);
  });

  it('says that there is no such device to rebuild', async () => {
    const { code, err } = await run('projections', 'rebuild', 'telemetry', '--device', 'nobody');
    assert.equal(code, 1);
    assert.match(err, /Device nobody is not registered/);
  });

  it('pause, resume and tell a digest', async () => {
    assert.match((await run('projections', 'pause', 'telemetry')).out, / paused$/m);
    assert.match((await run('projections', 'resume', 'telemetry')).out, / running$/m);
    const { out } = await run('projections', 'digest', 'telemetry');
    assert.match(out, /^telemetry generation 1 at 0:2\n/);
    assert.match(out, /^telemetry_latest +1 +[0-9a-f]{32}$/m);
    assert.equal((await run('projections', 'digest', 'telemetry', '--generation', '9')).code, 1);
  });

  it('work through dead letters', async () => {
    await fixture.publishRaw({ deviceId: 'a', timestamp: 'never' });
    await fixture.consumed('telemetry');
    const { out } = await run('dead-letters', 'list');
    const [, id = ''] = /^(\d+) +telemetry +device-a +0:3 +TelemetryRecorded +malformed/m.exec(out) ?? [];
    assert.match((await run('dead-letters', 'show', id)).out, /^event +\{.*"timestamp":"never"/m);
    assert.match((await run('dead-letters', 'counts')).out, /^telemetry +malformed +1 +0$/m);
    const retried = await run('dead-letters', 'retry', '--all');
    assert.equal(retried.code, 1);
    assert.match(retried.out, /^telemetry +device-a +0 +stopped at 3, malformed: /m);
    assert.equal((await run('dead-letters', 'discard', id)).code, 2);
    assert.equal((await run('dead-letters', 'discard', id, '--reason', 'Firmware 1.3')).code, 0);
    assert.match((await run('dead-letters', 'list', '--discarded')).out, /discarded by .*: Firmware 1\.3/);
    assert.equal((await run('dead-letters', 'retry')).code, 2);
    assert.equal((await run('dead-letters', 'retry', '--all')).out, 'There are no dead letters.\n');
    assert.equal((await run('dead-letters', 'show', '999')).code, 1);
    assert.match((await run('dead-letters', 'show', 'first')).err, /It must be a whole number/);
    assert.equal((await run('dead-letters', 'list')).out, 'There are no dead letters.\n');
    for (const wrong of [
      ['--cause', 'mood'],
      ['--projection', 'dreams'],
    ])
      assert.match((await run('dead-letters', 'list', ...wrong)).err, /Allowed choices are /);
  });

  it('page dead letters, and answer scripts as the API does', async () => {
    for (let n = 0; n < 3; n += 1) await fixture.publishRaw({ deviceId: 'a', timestamp: 'never' });
    await fixture.consumed('telemetry');
    const listed = async (...options: string[]) => {
      const { out, err } = await run('dead-letters', 'list', '--json', ...options);
      return { page: JSON.parse(out), more: /--after (\d+)/.exec(err)?.[1] };
    };
    const first = await listed('--limit', '2');
    assert.equal(first.page.length, 2);
    assert.match(first.page[0].parkedAt, /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.equal(first.more, String(first.page[1].id));
    const last = await listed('--limit', '2', '--after', first.more ?? '');
    assert.deepEqual(
      [...first.page, ...last.page].map(({ position }) => position),
      ['3', '4', '5'],
    );
    assert.equal(last.more, undefined);

    const [state] = JSON.parse((await run('projections', 'list', '--json')).out).filter(
      ({ projection }: { projection: string }) => projection === 'telemetry',
    );
    assert.deepEqual(state.positions, ['0:5']);
    const digest = JSON.parse((await run('projections', 'digest', 'telemetry', '--json')).out);
    assert.deepEqual(digest.positions, ['0:5']);
    const audit = JSON.parse((await run('audit', '--json')).out);
    assert.equal(audit.days[0].day, new Date().toISOString().slice(0, 10));
  });

  it('audit a device and some days, and refuse days that are none', async () => {
    const today = new Date().toISOString().slice(0, 10);
    assert.match((await run('audit', '--device', 'a', '--from', today)).out, /^all +2 +2 /m);
    assert.match((await run('audit', '--to', '2000-01-01')).out, /^all +0 +0 /m);
    assert.equal((await run('audit', '--from', 'yesterday')).code, 2);
    const reversed = await run('audit', '--from', '2026-01-02', '--to', '2026-01-02');
    assert.deepEqual([reversed.code, reversed.out], [2, '']);
    assert.match(reversed.err, /--from must be before --to/);
    const odd = await run('audit', '--device', 'a/b');
    assert.deepEqual([odd.code, odd.out], [2, '']);
    const nobody = await run('audit', '--device', 'nope');
    assert.deepEqual([nobody.code, nobody.out], [1, '']);
    assert.match(nobody.err, /There is no device nope, and no reading of it in the log/);
  });

  it('compare the device list with the streams: what is missing, too much or otherwise', async () => {
    await fixture.register('b');
    await fixture.consumed('devices');
    await fixture.consumed('device_history');
    await fixture.db.run("UPDATE devices_g1 SET name = 'other' WHERE device_id = 'a'");
    await fixture.db.run("UPDATE devices_g1 SET device_id = 'nobody' WHERE device_id = 'b'");
    const differences = async (...args: readonly string[]) => {
      const { code, out } = await run('audit', '--json', ...args);
      const { checked, differences } = JSON.parse(out).devices;
      const kinds = differences.map(({ deviceId, kind }: { deviceId: string; kind: string }) => [
        deviceId,
        kind,
      ]);
      return { code, checked, kinds };
    };
    assert.deepEqual(await differences('--devices', 'all'), {
      code: 1,
      checked: 3,
      kinds: [
        ['a', 'content'],
        ['b', 'not-listed'],
        ['nobody', 'no-stream'],
      ],
    });
    assert.deepEqual(await differences('--device', 'a'), { code: 1, checked: 1, kinds: [['a', 'content']] });
    assert.equal((await differences('--devices', '1')).checked, 1);
    assert.match(
      (await run('audit', '--device', 'a')).out,
      /^ {2}a, content: its stream says otherwise of name$/m,
    );
    assert.equal((await run('audit', '--devices', 'some')).code, 2);
    assert.equal(JSON.parse((await run('audit', '--json', '--devices', '0')).out).devices, undefined);
  });

  it('sum up the warnings of a rebuild at its end', async () => {
    const metadata = {
      $correlationId: 'c',
      $causationId: 'c',
      actor: 'test',
      recordedAt: '',
      schemaVersion: 1,
    };
    const eventStore = await fixture.container.getAsync(s.eventStore);
    const data = { deviceId: 'early', reason: 'r' };
    await eventStore.append(
      'device-early',
      [{ id: uuidIds.uuidV7(), type: 'DeviceSuspended', data, metadata }],
      'none',
    );
    await fixture.consumed('devices');
    const { code, err } = await run('projections', 'rebuild', 'devices');
    assert.equal(code, 0, err);
    assert.match(
      err,
      /^1 warning:\n {2}1 × batch failed, applying its events one by one: DeviceSuspended .* before its registration$/m,
    );
    assert.doesNotMatch(err, / at |"level"/);
  });
});
