import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { BrowserContext, Page } from 'playwright-core';
import { browserMissing, DashboardBrowser, endAtFailure, shownValues } from '../support/dashboard-browser.ts';
import { eventually } from '../support/eventually.ts';
import type { HttpClient } from '../support/http-client.ts';

/** The page in a real browser, against a whole server. */
(browserMissing ? describe.skip : describe)('The dashboard', function () {
  this.timeout(120_000);
  let dashboard: DashboardBrowser;
  let url: string;
  let call: HttpClient;
  let context: BrowserContext;
  let page: Page;

  before(async () => {
    dashboard = await DashboardBrowser.start();
    ({ url, call } = dashboard);
    context = await dashboard.context({ viewport: { width: 1200, height: 860 } });
    page = await dashboard.opened(context);
  });
  after(() => dashboard?.close());

  endAtFailure();

  const measure = (minutesAgo: number, count: number, deviceId = 'boiler-1') =>
    dashboard.measure(deviceId, minutesAgo, count);
  /** Of the dialog that is open. */
  const filled = (label: string, value: string) =>
    page.getByRole('dialog').getByLabel(label, { exact: true }).fill(value);
  const pressed = (name: string) => page.getByRole('button', { name, exact: true }).click();
  const values = (shown = page) => shownValues(shown);

  it('teaches an empty fleet, registers a device, charts what it sends and suspends it', async () => {
    await page.goto(url);
    await page.getByRole('heading', { name: 'No device yet' }).waitFor();
    assert.match(
      (await page.locator('pre').first().textContent()) ?? '',
      new RegExp(`${url}/api/v1/devices`),
    );
    const { port } = (await call('GET', '/api/v1/access')).json.mqtt;
    assert.match(
      (await page.locator('pre').nth(1).textContent()) ?? '',
      new RegExp(`-h 127.0.0.1 -p ${port} -q 1`),
    );
    await pressed('Register a device');
    await filled('Name', 'Boiler 1');
    await filled('Type', 'boiler');
    await filled('Id', 'boiler-1');
    await filled('Labels', 'site=north');
    await pressed('Register');
    await page.getByRole('heading', { name: 'Boiler 1' }).waitFor();
    await page.getByText('Nothing has been measured yet').waitFor();
    assert.match((await page.locator('pre').first().textContent()) ?? '', /telemetry[\s\S]*"boiler-1"/);
    await page.getByText(new RegExp(`-p ${port} -q 1[\\s\\S]*fieldlog/boiler-1/telemetry`)).waitFor();
    await measure(10, 20);
    await page.locator('.chip.live').waitFor();
    await page.locator('.chart canvas').first().waitFor();
    await eventually(async () => assert.equal(await values(), 40), { within: 20_000 });
    await pressed('Suspend');
    await filled('Reason', 'maintenance');
    await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
    await page.locator('.chip.suspended').waitFor();
    await pressed('Reinstate');
    await page.getByRole('dialog').getByRole('button', { name: 'Reinstate' }).click();
    await page.locator('.chip.active').waitFor();
  });

  it('registers a device by the keyboard alone', async () => {
    const focused = () => page.evaluate('document.activeElement?.textContent?.trim()');
    const tabTo = async (text: string) => {
      for (let i = 0; (await focused()) !== text; i += 1) {
        assert.ok(i < 30, `${text} is not reached`);
        await page.keyboard.press('Tab');
      }
    };
    await page.goto(`${url}/#/devices`);
    await page.getByRole('link', { name: 'Boiler 1' }).waitFor();
    await tabTo('Register a device');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(await focused(), 'Register a device');
    await page.keyboard.press('Enter');
    for (const text of ['Boiler 2', 'boiler', 'boiler-2']) {
      await page.keyboard.type(text);
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Boiler 2' }).waitFor();
    await page.goto(`${url}/#/devices/boiler-1`);
  });

  it('shows a device as it was', async () => {
    await page.getByRole('slider').fill('0');
    await page.getByText('As it was at revision 0').waitFor();
    assert.match(page.url(), /at=0/);
    await pressed('Back to now');
    await page.getByRole('button', { name: 'Change', exact: true }).waitFor();
  });

  it('lets the second of two tabs that change a device decide again', async () => {
    await pressed('Change');
    await filled('Name', 'Mine');
    await filled('Type', 'kettle');
    const other = { name: 'Theirs' };
    assert.equal((await call('PATCH', '/api/v1/devices/boiler-1', { json: other })).status, 200);
    await pressed('Save');
    await page.getByRole('heading', { name: 'The device was changed meanwhile' }).waitFor();
    await page.getByRole('dialog').getByText('Theirs').waitFor();
    await pressed('Edit mine on top of it');
    await pressed('Save');
    await page.getByRole('heading', { name: 'Mine', level: 1 }).waitFor();
    const { json } = await call('GET', '/api/v1/devices/boiler-1');
    assert.deepEqual([json.name, json.type], ['Mine', 'kettle']);
  });

  it('gives what the chart shows as CSV', async () => {
    const [download] = await Promise.all([page.waitForEvent('download'), pressed('CSV')]);
    assert.equal(download.suggestedFilename(), 'boiler-1.csv');
    const rows = (await readFile(await download.path(), 'utf8')).trim().split(/\r?\n/);
    assert.equal(rows.length - 1, await values());
  });

  it('says how far what it shows is behind, whichever read model that is', async () => {
    const shown = page.locator('.freshness');
    const operated = async (action: string) => {
      const { status, text } = await call('POST', `/api/v1/projections/telemetry/${action}`, { json: {} });
      assert.ok(status < 300, text);
    };
    const device = { deviceId: 'late', name: 'Late', type: 'test' };
    assert.equal((await call('POST', '/api/v1/devices', { json: device })).status, 201);
    await operated('pause');
    // It stops behind the batch it is at; until then it leaves fewer of those that come one by one.
    await eventually(async () => {
      await measure(1, 1, 'late');
      const { headers } = await call('GET', '/api/v1/telemetry/latest');
      assert.ok(Number(headers.get('Fieldlog-Lag')) > 30);
    });
    for (const [view, name] of [
      ['devices', 'Fleet'],
      ['devices/late', 'Late'],
      ['operations', 'Operations'],
    ] as const) {
      await page.goto(`${url}/#/${view}`);
      await page.getByRole('heading', { name, level: 1 }).waitFor();
      await shown.getByText(/^as of \d\d:\d\d:\d\d, [1-9]\d* events? behind$/).waitFor();
    }
    await operated('resume');
    await shown.getByText(/nothing behind$/).waitFor();
    await page.goto(`${url}/#/devices/boiler-1`);
    await shown.getByText(/nothing behind$/).waitFor();
  });

  it('follows devices in eight tabs at once by one stream', async () => {
    const before = await values();
    const tabs = [page];
    for (let i = 1; i < 8; i += 1) tabs.push(await dashboard.opened(context));
    const isOther = (tab: Page) => tabs.indexOf(tab) % 2 === 1;
    try {
      for (const tab of tabs) if (isOther(tab)) await tab.goto(`${url}/#/devices/boiler-2?range=15m`);
      for (const tab of tabs.slice(1))
        if (!isOther(tab)) await tab.goto(`${url}/#/devices/boiler-1?range=15m`);
      for (const tab of tabs) await tab.locator('.chip.live').waitFor();
      await measure(2, 3, 'boiler-2');
      await measure(5, 4);
      for (const tab of tabs)
        await eventually(async () => assert.equal(await values(tab), isOther(tab) ? 6 : before + 8), {
          within: 20_000,
        });
      const { text } = await call('GET', '/metrics');
      assert.match(text, /^fieldlog_live_streams 1$/m);
    } finally {
      for (const tab of tabs.slice(1)) await tab.close();
    }
  });

  it('loses no point of the chart when the server is killed and comes back', async () => {
    const before = await values();
    await dashboard.kill();
    await page.locator('.chip.cut').waitFor({ timeout: 30_000 });
    await dashboard.serve();
    await measure(3, 15);
    await page.locator('.chip.live').waitFor({ timeout: 30_000 });
    await eventually(async () => assert.equal(await values(), before + 30), { within: 30_000 });
  });

  it('keeps averages of a week up to date', async () => {
    await page.goto(`${url}/#/devices/boiler-1?range=7d&metric=temperature`);
    await page.locator('.chip.live').waitFor();
    const newest = () =>
      page.getByRole('region', { name: 'Values', includeHidden: true }).locator('td').nth(2).textContent();
    const before = await newest();
    const json = { deviceId: 'boiler-1', metrics: { temperature: 60 } };
    assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
    await eventually(
      async () => {
        const { json } = await call(
          'GET',
          `/api/v1/devices/boiler-1/telemetry?interval=1h&metric=temperature`,
        );
        const shown = await newest();
        assert.notEqual(shown, before);
        assert.equal(shown, String(json.buckets.at(-1).avg));
      },
      { within: 20_000 },
    );
  });

  it('has a fleet by pages of the server, with what is shown in the address', async () => {
    const json = Array.from({ length: 55 }, (_, i) => ({
      deviceId: `s-${i}`,
      name: `S ${i}`,
      type: 'sensor',
    }));
    assert.equal((await call('POST', '/api/v1/devices/bulk', { json })).status, 200);
    const rows = page.getByRole('region', { name: 'Devices' }).locator('tbody tr');
    const counted = (count: number) => eventually(async () => assert.equal(await rows.count(), count));
    await page.goto(`${url}/#/devices?type=sensor`);
    await counted(50);
    await page.getByRole('link', { name: 'Next 50' }).click();
    await counted(5);
    assert.match(page.url(), /type=sensor&cursor=/);
    const second = await dashboard.opened(context);
    await second.goto(page.url());
    await second.getByRole('link', { name: (await rows.first().locator('a').textContent()) ?? '' }).waitFor();
    await second.close();
    await page.goBack();
    await counted(50);
  });

  it('has reported no error, no breach of its policy and no request to another host', () =>
    assert.deepEqual(dashboard.faults, []));
});

const missing = browserMissing;
if (missing !== undefined)
  describe('The dashboard', () => {
    it(missing, process.env.CI ? () => assert.fail(missing) : undefined);
  });
