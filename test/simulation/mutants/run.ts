import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Mutant, mutants } from './mutants.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    tries: { type: 'string', default: '3' },
    seeds: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '120' },
    operations: { type: 'string', default: '200' },
    processes: { type: 'string', default: String(availableParallelism()) },
    from: { type: 'string', default: '1' },
    to: { type: 'string', default: 'Infinity' },
  },
});

/**
 * Applies each mutant in a temporary copy and runs worlds until one breaks a rule; prints a row of the table in
 * docs/simulation.md: how many seeds that took, the median of several tries with other seeds.
 */
process.exitCode = main();

function main(): number {
  let survivors = 0;
  print('| guard taken away | seeds to catch it | caught as | worlds |\n| --- | ---: | --- | --- |');
  const chosen = mutants
    .slice(Number(values.from) - 1, Number(values.to))
    .filter(({ name }) => name.includes(values.only));
  for (const one of chosen) {
    const found = caught(one);
    if (!found) survivors += 1;
    const worlds = one.worlds ? `\`${JSON.stringify(one.worlds).replaceAll('"', '')}\`` : '';
    print(`| ${one.name} | ${found?.median ?? 'not caught'} | ${found?.violation ?? ''} | ${worlds} |`);
  }
  return survivors === 0 ? 0 : 1;
}

function caught(one: Mutant): { readonly median: number; readonly violation: string } | undefined {
  const copy = mkdtempSync(path.join(tmpdir(), 'fieldlog-mutant-'));
  try {
    for (const folder of [
      'domain',
      'application',
      'infrastructure',
      'interfaces',
      'test/simulation',
      'test/support',
    ])
      cpSync(path.join(root, folder), path.join(copy, folder), { recursive: true });
    cpSync(path.join(root, 'package.json'), path.join(copy, 'package.json'));
    symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'));
    const file = path.join(copy, one.file);
    writeFileSync(file, mutated(one, readFileSync(file, 'utf8')));
    const tries = Number(values.tries);
    const counts: number[] = [];
    let violation = '';
    for (let attempt = 0; attempt < tries; attempt += 1) {
      const found = runUntilBroken(copy, 1 + attempt * 10_000, one.worlds);
      counts.push(found?.seeds ?? Number.POSITIVE_INFINITY);
      violation ||= found?.violation ?? '';
      if (counts.filter((count) => !Number.isFinite(count)).length > tries / 2) return undefined;
    }
    counts.sort((a, b) => a - b);
    return { median: counts[Math.floor(counts.length / 2)] as number, violation };
  } finally {
    rmSync(copy, { recursive: true });
  }
}

/** Throws when the text is not there exactly once: the mutant has to be brought up to date. */
export function mutated({ name, file, find, replace }: Mutant, text: string): string {
  if (text.split(find).length !== 2) throw new Error(`"${name}" does not apply to ${file}`);
  return text.replace(find, () => replace);
}

function runUntilBroken(
  copy: string,
  seed: number,
  like: Mutant['worlds'] = {},
): { readonly seeds: number; readonly violation: string } | undefined {
  const { seeds, seconds, operations, processes } = values;
  const options = JSON.stringify(like);
  const asked = Object.entries({ seed, seeds, seconds, operations, processes, options });
  const { stdout } = spawnSync(
    process.execPath,
    ['test/simulation/run.ts', ...asked.map(([name, value]) => `--${name}=${value}`), '--first'],
    {
      cwd: copy,
      encoding: 'utf8',
      maxBuffer: 1e9,
    },
  );
  const [, worlds, broken] = /^(\d+) worlds from seed \d+, (\d+) with/m.exec(stdout) ?? [];
  // A world that ends the process was noticed as well.
  if (worlds === undefined) return { seeds: 1, violation: 'the process ended' };
  if (broken === '0') return undefined;
  const violation = /^seed \d+: (.*)$/m.exec(stdout)?.[1] ?? '';
  return { seeds: Number(worlds), violation: violation.replaceAll('|', '/').slice(0, 90) };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
