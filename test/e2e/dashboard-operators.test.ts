import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { root } from '../deploy/yaml-file.ts';
import {
  accessibilityFaults,
  bandPixels,
  browserMissing,
  DashboardBrowser,
  dropFile,
  endAtFailure,
  outOfReach,
  shownValues,
  tableParts,
} from '../support/dashboard-browser.ts';
import { eventually } from '../support/eventually.ts';
import type { HttpClient } from '../support/http-client.ts';

const fixtures = path.join(root, 'test/fixtures/import');
/** `SCREENSHOTS=1` writes those of docs/screenshots anew. */
const screenshots = process.env.SCREENSHOTS === undefined ? undefined : path.join(root, 'docs/screenshots');
const sizes = {
  light: { viewport: { width: 1200, height: 860 }, colorScheme: 'light' },
  dark: { viewport: { width: 1200, height: 860 }, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: 'light' },
} as const;

/** Pages of operators in a real browser, and what all pages have in common. */
(browserMissing ? describe.skip : describe)('The dashboard of operators', function () {
  this.timeout(120_000);
  let dashboard: DashboardBrowser;
  let url: string;
  let call: HttpClient;
  let page: Page;

  before(async () => {
    dashboard = await DashboardBrowser.start();
    ({ url, call } = dashboard);
    page = await dashboard.opened(await dashboard.context(sizes.light));
    assert.equal((await call('POST', '/api/v1/devices/bulk', { json: fleet })).status, 200);
    await dashboard.measure('boiler-1', 14, 36);
    await dashboard.measure('boiler-1', 6, 36);
    await dashboard.measure('boiler-2', 8, 20);
  });
  after(() => dashboard?.close());

  endAtFailure();

  /** Of the dialog that is open. */
  const filled = (label: string, value: string) =>
    page.getByRole('dialog').getByLabel(label, { exact: true }).fill(value);
  const pressed = (name: string) => page.getByRole('button', { name, exact: true }).click();
  const dropped = (file: string) => dropFile(page, path.join(fixtures, file));

  it('teaches how to make a rule, previews and creates one', async () => {
    await page.goto(`${url}/#/alarms`);
    await page.getByText('No rule yet').waitFor();
    assert.match((await page.locator('pre').textContent()) ?? '', new RegExp(`${url}/api/v1/rules`));
    await pressed('Create a rule');
    await filled('Name', 'Too hot');
    await filled('Metric', 'temperature');
    await filled('Above', 'hot');
    await pressed('Create');
    await page.getByRole('alert').waitFor();
    await filled('Above', '24');
    await pressed('Preview');
    await page.getByText(/^5 alarms in the last 7 days, of 92 values of 2 devices/).waitFor();
    await filled('Above', '90');
    await pressed('Preview');
    await page.getByText(/^0 alarms in the last 7 days/).waitFor();
    await pressed('Create');
    await page.getByRole('link', { name: 'Too hot' }).waitFor();
    assert.match((await page.getByRole('row', { name: /Too hot/ }).textContent()) ?? '', /above 90/);
  });

  it('removes a rule', async () => {
    const json = { name: 'Not wanted', kind: 'novel', selector: { deviceId: 'nobody' } };
    assert.equal((await call('POST', '/api/v1/rules', { json })).status, 201);
    const row = page.getByRole('row', { name: /Not wanted/ });
    await row.getByRole('button', { name: 'Remove' }).click();
    await pressed('Remove for good');
    await row.waitFor({ state: 'detached' });
    assert.equal((await call('GET', '/api/v1/rules')).json.rules.length, 1);
  });

  it('creates a hook, whose secret it shows once, and a rule that names it', async () => {
    await pressed('Create a hook');
    await filled('Address', 'http://10.0.0.1/alarms');
    await pressed('Create');
    // Addresses inside the network are for those whom HOOKS_ALLOW names.
    await page.getByRole('dialog').getByRole('alert').waitFor();
    await filled('Address', `${url}/api/v1/none`);
    await pressed('Create');
    await page.getByRole('heading', { name: 'The secret of the hook' }).waitFor();
    assert.match((await page.locator('.secret').textContent()) ?? '', /^whsec_/);
    await pressed('Close');
    await pressed('Create a rule');
    await filled('Name', 'Posted');
    await filled('Metric', 'posted');
    await filled('Above', '1');
    await page
      .getByRole('dialog')
      .getByLabel('Hook')
      .selectOption({ label: `${url}/api/v1/none` });
    await pressed('Create');
  });

  it('shows operators where each reading went, a rebuild up to its switch, and an audit', async () => {
    await page.goto(`${url}/#/operations`);
    await page.getByRole('heading', { name: 'Every accepted reading' }).waitFor();
    await eventually(async () =>
      assert.match((await page.locator('.equation').textContent()) ?? '', /stored\s+92/),
    );
    const row = page.getByRole('row', { name: /^telemetry/ });
    await row.getByRole('button', { name: 'Rebuild' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Rebuild' }).click();
    await eventually(async () => assert.match((await row.textContent()) ?? '', /running\s*0\s*2/), {
      within: 30_000,
    });
    await pressed('Audit against the log');
    await page.getByText('no difference').waitFor({ timeout: 30_000 });
  });

  it('retries a dead letter until it is applied, and discards another', async () => {
    const parked = [10_000, 3_600_000].map((ahead) => ({
      deviceId: 'boiler-2',
      timestamp: Date.now() + ahead,
      metrics: { ahead },
    }));
    assert.equal((await call('POST', '/api/v1/telemetry', { json: parked })).status, 202);
    const letters = page.getByRole('region', { name: 'Dead letters' }).getByRole('row', { name: /future/ });
    await letters.nth(1).waitFor();
    await letters.nth(1).getByRole('button', { name: 'Discard' }).click();
    await filled('Reason', 'a wrong clock');
    await page.getByRole('dialog').getByRole('button', { name: 'Discard for good' }).click();
    await letters.nth(1).waitFor({ state: 'detached' });
    await eventually(
      async () => {
        await letters.getByRole('button', { name: 'Retry' }).click({ timeout: 1000 });
        await page.getByText('None: every event could be applied').waitFor({ timeout: 1000 });
      },
      { within: 30_000 },
    );
    const { json } = await call('GET', '/api/v1/devices/boiler-2/telemetry?metric=ahead');
    assert.deepEqual(
      json.points.map(({ value }: { value: number }) => value),
      [10_000],
    );
  });

  it('imports a file that is dropped, and shows it on the chart', async () => {
    await page.getByRole('link', { name: 'Import' }).click();
    await dropped('short.csv');
    await page
      .getByRole('alert')
      .getByText('say which column is the device: “Device of all lines”')
      .waitFor();
    await page.getByLabel('Device of all lines').fill('dropped-1');
    await page.getByLabel('Device of all lines').press('Enter');
    await page.getByRole('heading', { name: 'Preview' }).waitFor();
    await page.getByText('line 3: has 2 cells for 3 columns').waitFor();
    assert.match(page.url(), /device=dropped-1/);
    await dropped('late-column.csv');
    await page.getByText(/^1,00\d readings of 1 device from/).waitFor();
    assert.equal((await call('GET', '/api/v1/devices/dropped-1')).status, 404);
    await dropped('short.csv');
    await pressed('Import 1 reading');
    await page.getByRole('heading', { name: 'Imported in part' }).waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), pressed('Download refused lines')]);
    assert.equal(download.suggestedFilename(), 'short.csv.rejects.ndjson');
    const rejects = (await readFile(await download.path(), 'utf8')).trim().split('\n');
    assert.deepEqual([rejects.length, JSON.parse(rejects[1] ?? '').line], [2, 3]);
    await page.getByRole('link', { name: 'Chart of dropped-1' }).click();
    await page.locator('.chart canvas').first().waitFor();
    await eventually(async () => assert.equal(await shownValues(page), 2), { within: 20_000 });
  });

  it('shows the alarm that a rule raises, which people acknowledge and clear', async () => {
    const alarm = page.getByRole('region', { name: 'Alarms' }).getByRole('row', { name: /Too hot/ });
    await eventually(
      async () => {
        const json = { deviceId: 'boiler-2', metrics: { temperature: 95 } };
        assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
        assert.equal((await call('GET', '/api/v1/alarms')).json.alarms.length, 1);
      },
      { within: 30_000, every: 250 },
    );
    await page.goto(`${url}/#/alarms`);
    await alarm.getByRole('button', { name: 'Acknowledge' }).click();
    await filled('Note', 'On my way');
    const dialog = page.getByRole('dialog');
    // Its events are in the event store a moment after the alarm is in the table.
    await eventually(
      async () => {
        if (await dialog.isVisible())
          await dialog.getByRole('button', { name: 'Acknowledge' }).click({ timeout: 1000 });
        await dialog.waitFor({ state: 'detached', timeout: 1000 });
      },
      { within: 20_000 },
    );
    await alarm.getByText('acknowledged by anonymous: On my way').waitFor();
    await alarm.getByRole('button', { name: 'Silence' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Silence' }).click();
    await alarm.getByText('silenced by anonymous until').waitFor();
    await alarm.getByRole('button', { name: 'Clear' }).click();
    await filled('Note', 'Sensor replaced');
    await page.getByRole('dialog').getByRole('button', { name: 'Clear' }).click();
    await alarm.locator('.chip.cleared').waitFor();
    await alarm.getByText(/Sensor replaced/).waitFor();
    assert.equal(await alarm.getByRole('button').count(), 0);
  });

  it('draws the alarm as a band behind the line of its metric', async () => {
    await page.goto(`${url}/#/devices/boiler-2?range=15m&metric=temperature`);
    await page.getByText('Bands are 1 alarm of this device, 0 of them open.').waitFor();
    await eventually(async () => assert.ok((await bandPixels(page)) > 100));
    await page.getByLabel('on', { exact: true }).check();
    await page.getByLabel('temperature', { exact: true }).uncheck();
    await eventually(async () => assert.equal(await bandPixels(page), 0));
  });

  for (const [name, size] of Object.entries(sizes))
    it(`breaks no rule of accessibility: ${name}`, async () => {
      const one = await dashboard.context(size);
      const shown = await dashboard.opened(one);
      try {
        for (const [title, [hash, loaded]] of Object.entries(views)) {
          await shown.goto(`${url}/${hash}`);
          await shown.locator(loaded).first().waitFor();
          await shown.locator('.freshness:not(:empty)').waitFor();
          if (title === 'import') {
            await shown.getByLabel('File to import').setInputFiles(path.join(fixtures, 'short.csv'));
            await shown.getByRole('heading', { name: 'Preview' }).waitFor();
          }
          const alerts = await shown.getByRole('alert').allTextContents();
          assert.deepEqual(title === 'import' ? [] : alerts, [], title);
          if (screenshots) await shown.screenshot({ path: path.join(screenshots, `${title}-${name}.png`) });
          assert.deepEqual(await accessibilityFaults(shown), [], `${title}, ${name}`);
          assert.deepEqual(await outOfReach(shown), [], `${title}, ${name}`);
          const { drawn, told } = await tableParts(shown);
          assert.deepEqual(told, drawn, `${title}, ${name}`);
        }
      } finally {
        await one.close();
      }
    });

  it('shows what a hook could not deliver, and tries again', async () => {
    await page.goto(`${url}/#/alarms`);
    const hook = page.getByRole('region', { name: 'Hooks' }).getByRole('row', { name: /none/ });
    await eventually(
      async () => {
        const json = { deviceId: 'boiler-2', metrics: { posted: 2 } };
        assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
        await hook.getByText(/^1 alarm/).waitFor({ timeout: 1000 });
      },
      { within: 30_000 },
    );
    await hook.getByRole('button', { name: 'Retry' }).click();
    await hook.getByRole('button', { name: 'Test' }).click();
    await page.getByRole('dialog').getByText('Not delivered: ').waitFor();
    await pressed('Close');
    await hook.getByRole('button', { name: 'Disable' }).click();
    await hook.locator('.chip.disabled').waitFor();
  });

  it('asks once for a key, keeps it out of addresses, and hides what the key may not do', async () => {
    assert.match(await dashboard.key('all', 'devices:write,devices:read,operate'), /^flk_/);
    const secret = await dashboard.key('reads', 'devices:read,telemetry:read');
    const one = await dashboard.context(sizes.light);
    const shown = await dashboard.opened(one);
    try {
      await eventually(async () => assert.equal((await call('GET', '/api/v1/devices')).status, 401), {
        within: 20_000,
      });
      await shown.goto(url);
      await shown.getByRole('textbox', { name: 'Key' }).fill(secret);
      await shown.getByRole('button', { name: 'Use this key' }).click();
      await shown.getByRole('link', { name: 'Boiler 1' }).waitFor();
      assert.equal(await shown.getByRole('button', { name: 'Register a device' }).count(), 0);
      assert.ok(!shown.url().includes(secret));
      await shown.getByRole('link', { name: 'Operations' }).click();
      await shown.getByText('the key reads').waitFor();
      await shown.getByText('fieldlog keys revoke').waitFor();
      assert.deepEqual(await shown.getByRole('alert').allTextContents(), []);
      const next = await dashboard.opened(one);
      await next.goto(url);
      await next.getByRole('link', { name: 'Boiler 1' }).waitFor();
    } finally {
      await one.close();
    }
  });

  it('has reported no error, no breach of its policy and no request to another host', () =>
    assert.deepEqual(dashboard.faults, []));
});

/** The address of each page, and what is there once it is loaded. */
const views = {
  fleet: ['#/devices', 'tbody a'],
  device: ['#/devices/boiler-1?range=15m', '.chart canvas'],
  alarms: ['#/alarms', '[aria-label=Hooks] tbody tr'],
  import: ['#/import?device=preview-1', '.drop'],
  operations: ['#/operations', '.equation'],
} as const;

const fleet = [
  ...[1, 2, 3].map((i) => ({
    deviceId: `boiler-${i}`,
    name: `Boiler ${i}`,
    type: 'boiler',
    labels: { site: i < 3 ? 'north' : 'south' },
  })),
  ...['Entrance', 'Cold store', 'Roof'].map((name, i) => ({
    deviceId: `climate-${i + 1}`,
    name,
    type: 'climate',
    labels: { site: 'north', floor: String(i) },
  })),
];
