import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type CDPSession, chromium, type Page } from 'playwright-core';
import { Bench } from '../harness/bench.ts';
import { startFieldlog } from '../harness/process.ts';
import { median } from '../harness/statistics.ts';

/**
 * The dashboard in Chromium (`CHROMIUM`, which is a path, or `chromium` on the path) on a fleet of 10,000 devices: the
 * time to the first table, and the heap of a device's page while the device sends. Exits with 1 when a bound is missed.
 */
const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    rate: { type: 'string', default: '100' },
    quick: { type: 'boolean', default: false },
  },
});
const seconds = options.quick ? 30 : 60 * Number(options.minutes);
const rate = Number(options.rate);
const bounds = { tableMilliseconds: 1000, heapMebibytes: 100 };
const devices = 10_000;
const inOneRequest = 1000;
const turn = 200;
const mebibyte = 1024 * 1024;

process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

const bench = new Bench({ rounds: 1, quick: options.quick });
const server = bench.keep(await startFieldlog('serve', { DATA_DIR: await bench.folder() }));

const post = async (address: string, json: unknown) => {
  const { status } = await fetch(`${server.url}${address}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(json),
  });
  if (status >= 300) throw new Error(`${address} answered ${status}`);
};
const idOf = (i: number) => `sensor-${String(i).padStart(5, '0')}`;

for (let at = 0; at < devices; at += inOneRequest)
  await post(
    '/api/v1/devices/bulk',
    Array.from({ length: inOneRequest }, (_, i) => ({
      deviceId: idOf(at + i),
      name: `Sensor ${at + i}`,
      type: 'sensor',
      labels: { site: `site-${i % 20}` },
    })),
  );

const program = process.env.CHROMIUM ?? onPath('chromium');
const browser = await chromium.launch({ executablePath: program, args: ['--no-sandbox'] });
try {
  const context = await browser.newContext({ viewport: { width: 1200, height: 860 } });
  const tables: number[] = [];
  // The first lets the browser start, and the server read its files.
  for (let round = 0; round < 6; round += 1) {
    const page = await context.newPage();
    const taken = await untilTable(page);
    if (round > 0) tables.push(taken);
    await page.close();
  }
  const table = median(tables);
  console.log(
    `${devices} devices: first table after ${table.toFixed(0)} ms, at most ${Math.max(...tables).toFixed(0)} ms (bound ${bounds.tableMilliseconds})`,
  );

  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Performance.enable');
  await page.goto(`${server.url}/#/devices/${idOf(0)}?range=15m`);
  await page.locator('.chip.live').waitFor();
  const heaps = await heapWhileSending(page, session);
  const greatest = Math.max(...heaps);
  console.log(
    `${rate} readings a second for ${seconds} s: heap ${(heaps[0] ?? 0).toFixed(1)} MiB at first, ${(heaps.at(-1) ?? 0).toFixed(1)} MiB at last, ${greatest.toFixed(1)} MiB at most (bound ${bounds.heapMebibytes})`,
  );
  if (table > bounds.tableMilliseconds || greatest > bounds.heapMebibytes) process.exitCode = 1;
} finally {
  await browser.close();
  await bench.close();
}

/** Milliseconds from the address to the first row that is drawn. */
async function untilTable(page: Page): Promise<number> {
  const began = performance.now();
  await page.goto(`${server.url}/#/devices`, { waitUntil: 'commit' });
  await page.locator('tbody tr').first().waitFor();
  return performance.now() - began;
}

/** MiB in use after a collection, ten times over the run. */
async function heapWhileSending(page: Page, session: CDPSession): Promise<readonly number[]> {
  const heaps: number[] = [];
  const began = performance.now();
  let sent = 0;
  for (let looks = 0; looks < 10; ) {
    const elapsed = (performance.now() - began) / 1000;
    const due = Math.floor(elapsed * rate) - sent;
    const now = Date.now();
    if (due > 0)
      await post(
        '/api/v1/telemetry',
        Array.from({ length: due }, (_, i) => ({
          deviceId: idOf(0),
          timestamp: now - Math.floor(((due - i) * turn) / due),
          metrics: { temperature: 20 + 5 * Math.sin((sent + i) / 500), pressure: 1000 + (i % 10) },
        })),
      );
    sent += Math.max(due, 0);
    if (elapsed >= ((looks + 1) * seconds) / 10) {
      looks += 1;
      await session.send('HeapProfiler.collectGarbage');
      const { metrics } = await session.send('Performance.getMetrics');
      const used = metrics.find(({ name }) => name === 'JSHeapUsedSize')?.value ?? Number.NaN;
      heaps.push(used / mebibyte);
    }
    await pause(turn);
  }
  const summary = await page.locator('summary').textContent();
  if (!/newest 100 values/.test(summary ?? '')) throw new Error(`the page shows: ${summary}`);
  return heaps;
}

function onPath(name: string): string {
  const files = (process.env.PATH ?? '').split(path.delimiter).map((folder) => path.join(folder, name));
  const found = files.find((file) => existsSync(file));
  if (found === undefined) throw new Error(`There is no ${name}: set CHROMIUM to one`);
  return found;
}
