import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { drawOptions, faultKinds, laterThings, type WorldOptions } from './options.ts';
import { runInProcesses, type WorldReport, worldReport } from './pool.ts';
import { daysOf } from './settlement.ts';
import { shrink } from './shrink.ts';
import { runWorld } from './world.ts';

const help = `npm run simulation -- [--seed S] [--seeds N] [--operations N] [--seconds N] [--processes N]
                         [--without FAULT,…] [--options JSON] [--first] [--timeline]

  --seed S        the first seed; with --seeds 1 its timeline is printed, and of a world
                  that breaks a rule a shorter one's. A random one when absent
  --seeds N       so many worlds, of the seeds S, S+1, … (1)
  --operations N  of each world (2000)
  --seconds N     no new world begins after so many seconds
  --processes N   that run worlds at the same time (one for each processor)
  --without F,…   leaves out kinds of faults and other things: ${[...new Set([...faultKinds, 'rules', ...laterThings])].join(', ')}
  --options JSON  what every world is like, whatever its seed draws: {"rounds": 3, "faults": ["away"]}
  --first         ends at the first world that breaks a rule
  --timeline      prints every line of every world
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1' },
    operations: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: 'Infinity' },
    processes: { type: 'string', default: String(availableParallelism()) },
    without: { type: 'string', default: '' },
    options: { type: 'string', default: '{}' },
    timeline: { type: 'boolean', default: false },
    first: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const isOne = Number(values.seeds) === 1;
const without = new Set(values.without.split(','));
const fixed = JSON.parse(values.options) as Partial<WorldOptions>;

if (values.help) process.stdout.write(help);
else process.exitCode = await main();

async function main(): Promise<number> {
  const first = Number(values.seed ?? Math.floor(performance.timeOrigin) % 1_000_000_000);
  const began = process.hrtime.bigint();
  const seconds = () => Number(process.hrtime.bigint() - began) / 1e9;
  const totals = new Map<string, number>();
  const broken: number[] = [];
  let begun = 0;
  let ended = 0;
  let days = 0;
  const next = () => {
    const isOver = begun >= Number(values.seeds) || seconds() >= Number(values.seconds);
    if (isOver || (values.first && broken.length > 0)) return undefined;
    begun += 1;
    return { ...drawOptions(String(first + begun - 1), Number(values.operations), without), ...fixed };
  };
  const done = (report: WorldReport) => {
    ended += 1;
    print(report);
    days += daysOf(report.lasted);
    if (report.violation) broken.push(Number(report.options.seed));
    for (const [kind, count] of report.counts) totals.set(kind, (totals.get(kind) ?? 0) + count);
  };
  if (isOne) done(await one(next() as WorldOptions));
  else {
    const lines = values.timeline ? 'all' : 'last';
    await runInProcesses(Number(values.processes), next, lines, done);
  }
  const worlds = values.first && broken.length > 0 ? Math.min(...broken) - first + 1 : ended;
  write(
    `${worlds} worlds from seed ${first}, ${broken.length} with a violation, ${days.toFixed(1)} simulated days, ${seconds().toFixed(1)} s`,
  );
  for (const [kind, count] of [...totals].sort()) write(`  ${kind}: ${count}`);
  return broken.length === 0 ? 0 : 1;
}

/** The world of these options; of one that breaks a rule, the shortest of that seed that is found to. */
async function one(options: WorldOptions): Promise<WorldReport> {
  let shortest = await runWorld(options);
  if (shortest.violation) {
    write(`seed ${options.seed} breaks a rule, shorter worlds are tried: ${shortest.violation.message}`);
    await shrink(options, async (shorter) => {
      const result = await runWorld(shorter);
      if (result.violation) shortest = result;
      return result.violation !== undefined;
    });
  }
  return worldReport(shortest, 'all');
}

function print({ options, lines, violation }: WorldReport): void {
  for (const line of lines) write(line);
  if (violation || isOne) write(`options ${JSON.stringify(options)}`);
  if (!violation) return;
  write(`seed ${options.seed}: ${violation}`);
  // A kind that the seed does not draw anyway does no harm there.
  const absent = faultKinds.filter((kind) => without.has(kind) || !options.faults.includes(kind));
  const faults = absent.length === 0 ? '' : ` --without ${absent}`;
  const like = values.options === '{}' ? '' : ` --options '${values.options}'`;
  write(
    `replay: npm run simulation -- --seed ${options.seed} --operations ${options.operations}${faults}${like}`,
  );
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
