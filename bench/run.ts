import { mkdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { figures, parts } from './figures.ts';
import { Bench } from './harness/bench.ts';
import { type Pending, passes, type Row } from './harness/row.ts';
import { servers } from './harness/servers.ts';
import { table } from './harness/table.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    profile: { type: 'string', default: 'embedded' },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
  },
});
const unknown = positionals.filter((part) => !parts.includes(part));
if (unknown.length > 0 || !['embedded', 'distributed'].includes(options.profile)) {
  console.error(
    `Usage: bench [${parts.join('|')}]… [--profile embedded|distributed] [--quick] [--rounds N] [--only TEXT]`,
  );
  process.exit(2);
}

process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

const distributed = options.profile === 'distributed' ? await servers() : undefined;
const rows: (Row | Pending)[] = [];
try {
  for (const { part, file, needsServers, measure } of figures) {
    if (positionals.length > 0 && !positionals.includes(part)) continue;
    if (options.only !== undefined && !file.includes(options.only)) continue;
    if (needsServers && !distributed) continue;
    const bench = new Bench({
      rounds: options.quick ? 1 : Number(options.rounds),
      quick: options.quick,
      servers: distributed?.urls,
      serverProcesses: distributed?.processes,
    });
    console.error(`${part}: ${file}`);
    try {
      rows.push(...(await measure(bench)));
    } catch (error) {
      console.error(error);
      rows.push({ figure: file, pending: (error as Error).message.split('\n')[0] ?? '' });
    } finally {
      await bench.close();
    }
  }
} finally {
  await distributed?.close();
}

console.log(table(rows));
await keepResults();
if (rows.some((row) => 'pending' in row || !passes(row))) process.exitCode = 1;

async function keepResults(): Promise<void> {
  const folder = path.resolve(import.meta.dirname, 'results');
  await mkdir(folder, { recursive: true });
  const at = new Date().toISOString();
  const file = path.join(folder, `${at.replaceAll(':', '-')}.json`);
  const machine = {
    cpu: os.cpus()[0]?.model,
    cores: os.cpus().length,
    memory: os.totalmem(),
    node: process.version,
  };
  await writeFile(file, `${JSON.stringify({ at, machine, options, parts: positionals, rows }, null, 2)}\n`);
  console.error(`written to ${path.relative(process.cwd(), file)}`);
}
