import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core';
import { type FieldlogProcess, fieldlog } from './fieldlog-process.ts';
import { freePort } from './free-port.ts';
import { type HttpClient, httpClient } from './http-client.ts';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const named = process.env.CHROMIUM ?? 'chromium';
const program = path.isAbsolute(named)
  ? named
  : (process.env.PATH ?? '')
      .split(path.delimiter)
      .map((folder) => path.join(folder, named))
      .find((file) => existsSync(file));

/** Why there is no browser to test with; `undefined` where there is one. */
export const browserMissing =
  program === undefined ? `in a browser (needs ${named}: eval "$(.ci/tools)")` : undefined;

type Axe = {
  axe: {
    run(
      options: object,
    ): Promise<{ violations: readonly { id: string; nodes: readonly { html: string }[] }[] }>;
  };
};

type Dragging = { DataTransfer: new () => { readonly items: { add(file: File): void } } };

/** A whole server and a browser that shows its pages. */
export class DashboardBrowser {
  readonly url: string;
  readonly call: HttpClient;
  /** What pages report that must not be there. */
  readonly faults: string[] = [];
  readonly #folder: string;
  readonly #port: number;
  #server: FieldlogProcess | undefined;
  #browser: Browser | undefined;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.call = httpClient(this.url);
  }

  static async start(): Promise<DashboardBrowser> {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-dashboard-'));
    const started = new DashboardBrowser(folder, await freePort());
    await started.serve();
    // Root, which containers and CI run as, has no sandbox in Chromium.
    const options = { args: ['--no-sandbox'], ...(program !== undefined && { executablePath: program }) };
    started.#browser = await chromium.launch(options);
    return started;
  }

  async serve(): Promise<void> {
    this.#server = fieldlog(['serve'], {
      PORT: String(this.#port),
      DATA_DIR: path.join(this.#folder, 'data'),
      CLOCK_TOLERANCE: '2s',
      HOOKS_ALLOW: '127.0.0.1',
      MQTT_PORT: '0',
    });
    await this.#server.says(/(http:\/\/\S+)/, 60_000);
  }

  async kill(): Promise<void> {
    await this.#server?.end('SIGKILL');
  }

  async close(): Promise<void> {
    await this.#browser?.close();
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Pages that share what a browser keeps. */
  async context(options: BrowserContextOptions): Promise<BrowserContext> {
    if (!this.#browser) throw new Error('There is no browser');
    return this.#browser.newContext({ ...options, locale: 'en-GB', timezoneId: 'UTC' });
  }

  async opened(context: BrowserContext): Promise<Page> {
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on('pageerror', (error) => this.faults.push(String(error)));
    page.on('console', (message) => {
      // The server is killed in one test, and a conflict is provoked in another.
      const isExpected = /Failed to load resource|ERR_(CONNECTION|INCOMPLETE|EMPTY)/.test(message.text());
      if (message.type() === 'error' && !isExpected) this.faults.push(message.text());
    });
    page.on('request', (request) => {
      const { protocol, host } = new URL(request.url());
      if (protocol.startsWith('http') && host !== `127.0.0.1:${this.#port}`)
        this.faults.push(`asked ${request.url()}`);
    });
    return page;
  }

  /** Sends a reading for each ten seconds, the first so many minutes ago. */
  async measure(deviceId: string, minutesAgo: number, count: number): Promise<void> {
    const from = Date.now() - minutesAgo * 60_000;
    const json = Array.from({ length: count }, (_, i) => ({
      deviceId,
      timestamp: from + i * 10_000,
      metrics: { temperature: 21 + 4 * Math.sin(i / 4), on: i % 10 < 6 },
    }));
    assert.equal((await this.call('POST', '/api/v1/telemetry', { json })).status, 202);
  }

  /** The secret of a new API key. */
  async key(name: string, scopes: string): Promise<string> {
    const made = fieldlog(['keys', 'create', '--name', name, '--scopes', scopes], {
      DATA_DIR: path.join(this.#folder, 'data'),
    });
    const [secret = ''] = await made.says(/flk_\S+/, 30_000);
    await made.end('SIGTERM');
    return secret;
  }
}

/** By axe-core: each rule that the page breaks, with where. */
export async function accessibilityFaults(page: Page): Promise<readonly string[]> {
  // By the protocol of the debugger, which the page's own policy does not hold.
  await page.evaluate(await readFile(axe, 'utf8'));
  const { violations } = await page.evaluate(() =>
    (globalThis as unknown as Axe).axe.run({ resultTypes: ['violations'] }),
  );
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

/** What of the tables needs scrolling to the side, or is beyond the page. */
export const outOfReach = (page: Page): Promise<readonly string[]> =>
  page.evaluate(`(() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    const beyond = [...document.querySelectorAll('.scroll tbody *')].filter((one) => {
      const { left, right, width } = one.getBoundingClientRect();
      return width > 0 && (left < 0 || right > clientWidth + 0.5);
    });
    const wide = scrollWidth > clientWidth ? ['the page is ' + scrollWidth + ' wide'] : [];
    return [...wide, ...beyond.map((one) => one.outerHTML)];
  })()`);

/** How many parts the tables of a page have, and how many of each the browser tells those who hear the page. */
export async function tableParts(page: Page): Promise<Record<'drawn' | 'told', readonly number[]>> {
  const parts = { table: '', row: 'tr', columnheader: 'thead th', rowheader: 'tbody th' };
  const selectors = Object.values(parts).map((part) => `table.cards ${part}`);
  const drawn = await Promise.all(selectors.map((selector) => page.locator(selector).count()));
  const session = await page.context().newCDPSession(page);
  const told = Object.keys(parts).map(() => 0);
  for (let i = 0; i < (drawn[0] ?? 0); i += 1) {
    const expression = `document.querySelectorAll('table.cards')[${i}]`;
    const { objectId = '' } = (await session.send('Runtime.evaluate', { expression })).result;
    for (const [at, role] of Object.keys(parts).entries()) {
      const { nodes } = await session.send('Accessibility.queryAXTree', { objectId, role });
      told[at] = (told[at] ?? 0) + nodes.filter(({ ignored }) => !ignored).length;
    }
  }
  await session.detach();
  return { drawn, told };
}

/** How much of the chart's lines is painted in the colour of an alarm's band. */
export const bandPixels = (page: Page): Promise<number> =>
  page.evaluate(`[...document.querySelectorAll('.chart canvas')].reduce((sum, canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4)
      if (data[i] > 150 && data[i + 1] < 80 && data[i + 3] > 20 && data[i + 3] < 60) sum += 1;
    return sum;
  }, 0)`);

/** Drops the file where a page takes one. */
export async function dropFile(page: Page, file: string): Promise<void> {
  const dataTransfer = await page.evaluateHandle(
    ([content, name]) => {
      const transfer = new (globalThis as unknown as Dragging).DataTransfer();
      transfer.items.add(new File([content], name));
      return transfer;
    },
    [await readFile(file, 'utf8'), path.basename(file)] as const,
  );
  await page.dispatchEvent('.drop', 'drop', { dataTransfer });
}

/** How many values the table of a chart says it has. */
export async function shownValues(page: Page): Promise<number> {
  const [, count = '0'] = (await page.locator('summary').textContent())?.match(/newest (\d+) values/) ?? [];
  return Number(count);
}

/** For tests that each continue from what the one before has left. Mocha's own bail would end the other files too. */
export function endAtFailure(): void {
  let hasFailed = false;
  beforeEach(function () {
    if (hasFailed) this.skip();
  });
  afterEach(function () {
    hasFailed ||= this.currentTest?.state === 'failed';
  });
}
