import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { isOnPath } from '../deploy/tools.ts';
import { root } from '../deploy/yaml-file.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { freePort } from '../support/free-port.ts';
import { type HttpClient, httpClient } from '../support/http-client.ts';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const program = process.env.CHROMIUM ?? 'chromium';
/** `SCREENSHOTS=1` writes those of docs/screenshots anew. */
const screenshots = process.env.SCREENSHOTS === undefined ? undefined : path.join(root, 'docs/screenshots');
const sizes = {
  light: { viewport: { width: 1200, height: 860 }, colorScheme: 'light' },
  dark: { viewport: { width: 1200, height: 860 }, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: 'light' },
} as const;

const isThere = path.isAbsolute(program) || isOnPath(program);
const missing = `in a browser (needs ${program}: eval "$(.ci/tools)")`;

/** The page in a real browser, against a whole server. */
(isThere ? describe : describe.skip)('The dashboard', function () {
  this.timeout(120_000);
  // Each continues from what the one before has left.
  this.bail(true);
  let folder: string;
  let server: FieldlogProcess;
  let port: number;
  let url: string;
  let call: HttpClient;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  /** What a browser reports that must not be there. */
  const faults: string[] = [];

  async function serve(): Promise<void> {
    server = fieldlog(['serve'], { PORT: String(port), DATA_DIR: path.join(folder, 'data') });
    await server.says(/(http:\/\/\S+)/, 60_000);
  }

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-dashboard-'));
    port = await freePort();
    url = `http://127.0.0.1:${port}`;
    call = httpClient(url);
    await serve();
    browser = await chromium.launch({
      executablePath: path.isAbsolute(program) ? program : whereIs(program),
      // Root, which containers and CI run as, has no sandbox in Chromium.
      args: ['--no-sandbox'],
    });
    context = await browser.newContext({ ...sizes.light, locale: 'en-GB', timezoneId: 'UTC' });
    page = await opened(context);
  });
  after(async () => {
    await browser?.close();
    await server?.end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });

  async function opened(of: BrowserContext): Promise<Page> {
    const one = await of.newPage();
    one.setDefaultTimeout(20_000);
    one.on('pageerror', (error) => faults.push(String(error)));
    one.on('console', (message) => {
      // The server is killed in one test, and a conflict is provoked in another.
      const isExpected = /Failed to load resource|ERR_(CONNECTION|INCOMPLETE|EMPTY)/.test(message.text());
      if (message.type() === 'error' && !isExpected) faults.push(message.text());
    });
    one.on('request', (request) => {
      const { protocol, host } = new URL(request.url());
      if (protocol.startsWith('http') && host !== `127.0.0.1:${port}`) faults.push(`asked ${request.url()}`);
    });
    return one;
  }

  /** One reading each ten seconds, the first so many minutes ago. */
  const measure = async (minutesAgo: number, count: number) => {
    const from = Date.now() - minutesAgo * 60_000;
    const json = Array.from({ length: count }, (_, i) => ({
      deviceId: 'boiler-1',
      timestamp: from + i * 10_000,
      metrics: { temperature: 21 + 4 * Math.sin(i / 4), on: i % 10 < 6 },
    }));
    assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
  };
  /** Of the dialog that is open. */
  const filled = (label: string, value: string) =>
    page.getByRole('dialog').getByLabel(label, { exact: true }).fill(value);
  const pressed = (name: string) => page.getByRole('button', { name, exact: true }).click();
  /** A file of the importer's tests, on the page that is open. */
  const dropped = async (file: string) => {
    const text = await readFile(path.join(root, 'test/fixtures/import', file), 'utf8');
    const dataTransfer = await page.evaluateHandle(
      ([content, name]) => {
        const transfer = new (globalThis as unknown as Dragging).DataTransfer();
        transfer.items.add(new File([content], name));
        return transfer;
      },
      [text, file] as const,
    );
    await page.dispatchEvent('.drop', 'drop', { dataTransfer });
  };
  const values = async () => {
    const [, count = '0'] = (await page.locator('summary').textContent())?.match(/newest (\d+) values/) ?? [];
    return Number(count);
  };

  it('teaches an empty fleet, registers a device, charts what it sends and suspends it', async () => {
    await page.goto(url);
    await page.getByRole('heading', { name: 'No device yet' }).waitFor();
    assert.match(
      (await page.locator('pre').first().textContent()) ?? '',
      new RegExp(`${url}/api/v1/devices`),
    );
    await pressed('Register a device');
    await filled('Name', 'Boiler 1');
    await filled('Type', 'boiler');
    await filled('Id', 'boiler-1');
    await filled('Labels', 'site=north');
    await pressed('Register');
    await page.getByRole('heading', { name: 'Boiler 1' }).waitFor();
    await measure(10, 20);
    await page.locator('.chip.live').waitFor();
    await page.locator('.chart canvas').waitFor();
    await eventually(async () => assert.equal(await values(), 40), { within: 20_000 });
    await pressed('Suspend');
    await filled('Reason', 'maintenance');
    await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
    await page.locator('.chip.suspended').waitFor();
    await pressed('Reinstate');
    await page.getByRole('dialog').getByRole('button', { name: 'Reinstate' }).click();
    await page.locator('.chip.active').waitFor();
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
    const other = { name: 'Theirs' };
    assert.equal((await call('PATCH', '/api/v1/devices/boiler-1', { json: other })).status, 200);
    await pressed('Save');
    await page.getByRole('heading', { name: 'The device was changed meanwhile' }).waitFor();
    await page.getByRole('dialog').getByText('Theirs').waitFor();
    await pressed('Edit mine on top of it');
    await pressed('Save');
    await page.getByRole('heading', { name: 'Mine', level: 1 }).waitFor();
  });

  it('loses no point of the chart when the server is killed and comes back', async () => {
    const before = await values();
    await server.end('SIGKILL');
    await page.locator('.chip.cut').waitFor({ timeout: 30_000 });
    await serve();
    await measure(3, 15);
    await page.locator('.chip.live').waitFor({ timeout: 30_000 });
    await eventually(async () => assert.equal(await values(), before + 30), { within: 30_000 });
  });

  it('shows operators where each reading went, a rebuild up to its switch, and an audit', async () => {
    await page.getByRole('link', { name: 'Operations' }).click();
    await page.getByRole('heading', { name: 'Every accepted reading' }).waitFor();
    await eventually(async () =>
      assert.match((await page.locator('.equation').textContent()) ?? '', /stored\s+35/),
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

  it('creates a rule, and shows the alarm it raises until it is acknowledged', async () => {
    await page.getByRole('link', { name: 'Alarms' }).click();
    await pressed('Create a rule');
    await filled('Name', 'Too hot');
    await filled('Metric', 'temperature');
    await filled('Above', 'hot');
    await pressed('Create');
    await page.getByRole('alert').waitFor();
    await filled('Above', '90');
    await pressed('Create');
    await page.getByRole('link', { name: 'Too hot' }).waitFor();
    assert.match((await page.getByRole('row', { name: /Too hot/ }).textContent()) ?? '', /above 90/);
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
    await page.locator('.chart canvas').waitFor();
    await eventually(async () => assert.equal(await values(), 2), { within: 20_000 });
  });

  for (const [name, size] of Object.entries(sizes))
    it(`breaks no rule of accessibility: ${name}`, async () => {
      const one = await browser.newContext({ ...size, locale: 'en-GB', timezoneId: 'UTC' });
      const shown = await opened(one);
      try {
        for (const [title, hash] of Object.entries(views)) {
          await shown.goto(`${url}/${hash}`);
          await shown.locator('h1').waitFor();
          await shown.locator('.freshness:not(:empty)').waitFor();
          if (title === 'import') {
            await shown
              .getByLabel('File to import')
              .setInputFiles(path.join(root, 'test/fixtures/import/short.csv'));
            await shown.getByRole('heading', { name: 'Preview' }).waitFor();
          }
          if (title === 'device') await shown.locator('.chart canvas').waitFor();
          if (screenshots) {
            await mkdir(screenshots, { recursive: true });
            await shown.screenshot({ path: path.join(screenshots, `${title}-${name}.png`) });
          }
          // By the protocol of the debugger, which the page's own policy does not hold.
          await shown.evaluate(await readAxe());
          const found = await shown.evaluate(() =>
            (globalThis as unknown as Axe).axe.run({ resultTypes: ['violations'] }),
          );
          assert.deepEqual(
            found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`),
            [],
            `${title}, ${name}`,
          );
        }
      } finally {
        await one.close();
      }
    });

  it('asks once for a key, keeps it out of addresses, and hides what the key may not do', async () => {
    const { stdout } = await made('keys', 'create', '--name', 'all', '--scopes', everyScope);
    assert.match(stdout, /flk_/);
    const { stdout: reading } = await made(
      'keys',
      'create',
      '--name',
      'reads',
      '--scopes',
      'devices:read,telemetry:read',
    );
    const [secret = ''] = /flk_\S+/.exec(reading) ?? [];
    const one = await browser.newContext(sizes.light);
    const shown = await opened(one);
    try {
      await eventually(async () => assert.equal((await call('GET', '/api/v1/devices')).status, 401), {
        within: 20_000,
      });
      await shown.goto(url);
      await shown.getByRole('textbox', { name: 'Key' }).fill(secret);
      await shown.getByRole('button', { name: 'Use this key' }).click();
      await shown.getByRole('link', { name: 'Mine' }).waitFor();
      assert.equal(await shown.getByRole('button', { name: 'Register a device' }).count(), 0);
      assert.ok(!shown.url().includes(secret));
    } finally {
      await one.close();
    }
  });

  it('has reported no error, no breach of its policy and no request to another host', () =>
    assert.deepEqual(faults, []));

  async function made(...args: readonly string[]) {
    const one = fieldlog(args, { DATA_DIR: path.join(folder, 'data') });
    const [stdout = ''] = await one.says(/[\s\S]*flk_\S+[\s\S]*/, 30_000);
    await one.end('SIGTERM');
    return { stdout };
  }
});

if (!isThere)
  describe('The dashboard', () => {
    it(missing, process.env.CI ? () => assert.fail(missing) : undefined);
  });

const views = {
  fleet: '#/devices',
  device: '#/devices/boiler-1?range=15m',
  alarms: '#/alarms',
  import: '#/import?device=preview-1',
  operations: '#/operations',
};
const everyScope = 'devices:write,devices:read,telemetry:write,telemetry:read,operate';

type Dragging = { DataTransfer: new () => { readonly items: { add(file: File): void } } };

type Axe = {
  axe: {
    run(
      options: object,
    ): Promise<{ violations: readonly { id: string; nodes: readonly { html: string }[] }[] }>;
  };
};

let axeSource: string | undefined;
async function readAxe(): Promise<string> {
  axeSource ??= await readFile(axe, 'utf8');
  return axeSource;
}

function whereIs(name: string): string {
  const folder = (process.env.PATH ?? '')
    .split(path.delimiter)
    .find(
      (one) => isOnPath(name) && createRequire(import.meta.url)('node:fs').existsSync(path.join(one, name)),
    );
  return path.join(folder ?? '', name);
}
