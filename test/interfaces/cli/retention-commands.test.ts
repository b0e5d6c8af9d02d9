import assert from 'node:assert/strict';
import path from 'node:path';
import type { Metrics } from '../../../domain/telemetry.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { runCli } from '../../support/cli.ts';
import { type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const day = 86_400_000;

describe('fieldlog retention', () => {
  let fixture: ReplayFixture;
  const run = (args: readonly string[], env: Record<string, string> = {}) =>
    runCli(args, { env: { DATA_DIR: fixture.folder, PORT: '1', ...env } });

  beforeEach(async () => {
    fixture = await replayFixture();
    await fixture.register('a');
    const today = Math.floor(Date.now() / day) * day;
    const readings = [10, 5, 1].map((ago): [number, Metrics] => [today - ago * day, { temp: ago, vib: 1 }]);
    await fixture.measure('a', readings);
    const stop = fixture.consuming();
    await fixture.consumed('telemetry');
    await stop();
  });
  afterEach(() => fixture.close());

  it('says so where nothing expires', async () => {
    const { code, out } = await run(['retention', 'show']);
    assert.deepEqual({ code, out }, { code: 0, out: 'Telemetry never expires.\n' });
    assert.doesNotMatch((await run(['status'])).out, /never expires/);
  });

  it('shows what the configured policy would remove, and removes nothing', async () => {
    const RETENTION = '[{"points": "6d"}, {"metric": "vib", "points": "2d"}]';
    const { code, out, err } = await run(['retention', 'preview', '--json'], { RETENTION });
    assert.equal(code, 0, err);
    assert.deepEqual(JSON.parse(out), { points: 1, minutes: 0, hours: 0, days: 0, trimmed: 1 });
    assert.match(
      (await run(['retention', 'preview'], { RETENTION })).out,
      /^would be removed +rows\npoints +1\n/,
    );
    assert.deepEqual(await fixture.db.rows('SELECT COUNT(*) FROM telemetry_g1'), [[3]]);
  });

  it('removes what has expired under the policy in force, and status and audit show it', async () => {
    await (await fixture.container.getAsync(s.retentionRecords)).announce([{ keep: { points: 6 } }], 0);
    const { code, out, err } = await run(['retention', 'sweep']);
    assert.equal(code, 0, err);
    assert.match(out, /^type +metric +points +minutes +hours +days\nany +any +6d +- +- +-\n/);
    assert.match(out, /Swept to \d{4}-.*\n\nremoved +rows\npoints +1\n/);
    const { ledger, retention } = JSON.parse((await run(['status', '--json'])).out);
    assert.equal(ledger.expired, 1);
    assert.equal(retention.removed.points, 1);
    assert.match((await run(['status'])).out, /expired +1\n(.*\n)*any +any +6d/);
    const audit = await run(['audit']);
    assert.equal(audit.code, 0);
    assert.match(audit.out, /No difference/);
  });

  it('says of an import how many readings are in no table, for their time had expired (case 30)', async () => {
    await (await fixture.container.getAsync(s.retentionRecords)).announce([{ keep: { points: 90 } }], 0);
    const file = path.resolve(import.meta.dirname, '../../fixtures/import/old-history.csv');
    const { code, out, err } = await run(['import', file, '--device', 'old']);
    assert.equal(err, '');
    assert.match(out, /^Imported 2 readings of 1 device/);
    assert.match(out, /^2 readings came later than their points are kept, and are in no table\.$/m);
    assert.equal(code, 1);
    assert.equal(JSON.parse((await run(['status', '--json'])).out).ledger.late, 2);
  });
});
