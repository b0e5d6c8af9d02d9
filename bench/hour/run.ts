import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { Bench } from '../harness/bench.ts';
import { fleet, registerFleet, untilProjected } from '../harness/embedded.ts';
import { bin, startFieldlog, unset } from '../harness/process.ts';
import { memoryOf } from '../harness/usage.ts';
import { SmallDisk } from './disk.ts';
import { plotSvg } from './plot.ts';
import { SteadyLoad } from './steady-load.ts';

/**
 * `serve` at a steady load for an hour, with rebuilds, backups and a full disk: memory, handles and files by the minute,
 * and an audit at the end. Exits with 1 when the audit differs from what was accepted.
 */
const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    rate: { type: 'string', default: '200' },
    disk: { type: 'string', default: '3072' },
  },
});
const minutes = Number(options.minutes);
const rate = Number(options.rate);

/**
 * Minutes between two of each, the first after half of that, and minutes that the disk stays full: in an hour 5, 10, 20 and
 * 1. A shorter run does all of it as often.
 */
const every = {
  rebuild: minutes / 12,
  backup: minutes / 6,
  'full disk': minutes / 3,
  'full for': minutes / 60,
};
const lookEvery = 5_000;
const commandWithin = 240_000;
const mebibyte = 1024 * 1024;
const run = promisify(execFile);

type Minute = {
  minute: number;
  memory: number;
  handles: number;
  threads: number;
  files: Record<string, number>;
  accepted: number;
  refused: number;
};
type Span = { what: string; from: number; to: number; error?: string };

process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

const bench = new Bench({ rounds: 1, quick: false });
const disk = new SmallDisk(Number(options.disk));
process.once('exit', () => disk.remove());
const data = path.join(disk.folder, 'data');
const backups = await bench.folder();
const server = bench.keep(await startFieldlog('serve', { DATA_DIR: data }));
await registerFleet(server.url);

const began = performance.now();
const minute = () => (performance.now() - began) / 60_000;
const memory: { at: number; mebibytes: number }[] = [];
const table: Minute[] = [];
const spans: Span[] = [];
const load = new SteadyLoad(server.url, fleet, rate);
const started = new Date().toISOString();
const results = path.resolve(import.meta.dirname, '../results');
await mkdir(results, { recursive: true });

let failed = false;
const jobs = [
  repeat('rebuild', (n) => command('projections', 'rebuild', n % 2 === 0 ? 'telemetry' : 'devices')),
  repeat('backup', async (n) => {
    await command('backup', path.join(backups, String(n)));
    await rm(path.join(backups, String(n - 1)), { recursive: true, force: true });
  }),
  repeat('full disk', async () => {
    disk.fill();
    try {
      for (const until = minute() + every['full for']; minute() < until; await pause(1_000)) disk.fill();
    } finally {
      disk.giveBack();
    }
  }),
];
let written = 0;
while (minute() < minutes) {
  await pause(lookEvery);
  memory.push({ at: minute(), mebibytes: memoryOf(server.pid, 'VmRSS') ?? Number.NaN });
  if (minute() < written + 1) continue;
  written = Math.floor(minute());
  table.push(await lookAt(written));
  await keepResults(undefined);
}
await Promise.all(jobs);
await load.end();
await untilProjected(server.url);
const { totals, differences } = (await (await fetch(`${server.url}/api/v1/audit`)).json()) as {
  totals: Record<string, number>;
  differences: unknown[];
};
const audit = { totals, differences };
const clean = differences.length === 0 && totals.accepted === load.accepted;
await keepResults(audit);
await bench.close();
console.log(JSON.stringify({ accepted: load.accepted, refused: load.refused, causes: load.causes, audit }));
process.exit(clean && !failed ? 0 : 1);

/** Does it again and again, and keeps when; a failure fails the run. */
async function repeat(
  what: 'rebuild' | 'backup' | 'full disk',
  job: (n: number) => Promise<void>,
): Promise<void> {
  for (let n = 0; ; n += 1) {
    const next = every[what] * (n + 0.5);
    if (next + every['full for'] >= minutes) return;
    await pause(Math.max(0, (next - minute()) * 60_000));
    const from = minute();
    try {
      await job(n);
      spans.push({ what, from, to: minute() });
    } catch (error) {
      spans.push({ what, from, to: minute(), error: (error as Error).message });
      failed = true;
    }
  }
}

async function command(...words: string[]): Promise<void> {
  const env = { ...process.env, ...unset, DATA_DIR: data };
  await run(process.execPath, [bin, ...words], { env, timeout: commandWithin });
}

async function lookAt(at: number): Promise<Minute> {
  const files: Record<string, number> = {};
  for (const file of await readdir(data).catch(() => []))
    files[file] = (await stat(path.join(data, file)).catch(() => undefined))?.size ?? 0;
  const count = async (what: string) => (await readdir(`/proc/${server.pid}/${what}`)).length;
  const { mebibytes } = memory.at(-1) ?? { mebibytes: Number.NaN };
  return {
    minute: at,
    memory: mebibytes,
    handles: await count('fd'),
    threads: await count('task'),
    files,
    accepted: load.accepted,
    refused: load.refused,
  };
}

async function keepResults(audit: unknown): Promise<void> {
  const name = path.join(results, `hour-${started.replaceAll(':', '-')}`);
  const { accepted, refused, causes } = load;
  const all = { started, minutes, rate, accepted, refused, causes, audit, spans, table, memory };
  await writeFile(`${name}.json`, `${JSON.stringify(all, null, 2)}\n`);
  const title = `fieldlog serve, ${rate} readings/s, ${fleet} devices, ${minutes} minutes`;
  await writeFile(`${name}.svg`, plotSvg({ title, minutes, memory, spans }));
  await writeFile(`${name}.md`, `${asTable(table).join('\n')}\n`);
}

function asTable(rows: readonly Minute[]): string[] {
  const mib = (bytes: number | undefined) => ((bytes ?? 0) / mebibyte).toFixed(0);
  const named = ['events.db', 'telemetry.db', 'read-models.db', 'read-models.db-wal'];
  return [
    `| minute | memory MiB | handles | threads | ${named.map((name) => `${name} MiB`).join(' | ')} | accepted | refused |`,
    `|${' --- |'.repeat(6 + named.length)}`,
    ...rows.map((row) => {
      const sizes = named.map((name) => mib(row.files[name]));
      const { accepted, refused } = row;
      return `| ${row.minute} | ${row.memory.toFixed(0)} | ${row.handles} | ${row.threads} | ${sizes.join(' | ')} | ${accepted.toLocaleString('en-US')} | ${refused.toLocaleString('en-US')} |`;
    }),
  ];
}
