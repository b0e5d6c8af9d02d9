import { parseArgs } from 'node:util';
import { drawOptions, faultKinds } from './options.ts';
import { daysOf } from './settlement.ts';
import { shrink } from './shrink.ts';
import { runWorld, type WorldResult } from './world.ts';

const help = `npm run simulation -- [--seed S] [--seeds N] [--operations N] [--seconds N] [--without FAULT,…] [--first] [--timeline]

  --seed S        the first seed; with --seeds 1 its timeline is printed, and of a world
                  that breaks a rule a shorter one's. A random one when absent
  --seeds N       so many worlds, of the seeds S, S+1, … (1)
  --operations N  of each world (2000)
  --seconds N     no new world begins after so many seconds
  --without F,…   leaves out kinds of faults: ${faultKinds.join(', ')}
  --first         ends at the first world that breaks a rule
  --timeline      prints every line of every world
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1' },
    operations: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: 'Infinity' },
    without: { type: 'string', default: '' },
    timeline: { type: 'boolean', default: false },
    first: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const isOne = Number(values.seeds) === 1;

if (values.help) process.stdout.write(help);
else process.exitCode = await main();

async function main(): Promise<number> {
  const first = Number(values.seed ?? Math.floor(performance.timeOrigin) % 1_000_000_000);
  const without = new Set(values.without.split(','));
  const began = process.hrtime.bigint();
  const seconds = () => Number(process.hrtime.bigint() - began) / 1e9;
  const totals = new Map<string, number>();
  let worlds = 0;
  let days = 0;
  let broken = 0;
  for (; worlds < Number(values.seeds) && seconds() < Number(values.seconds); worlds += 1) {
    const drawn = await runWorld(drawOptions(String(first + worlds), Number(values.operations), without));
    const result = drawn.violation && isOne ? await shrunk(drawn) : drawn;
    report(result, without);
    days += daysOf(result.lasted);
    if (result.violation) broken += 1;
    for (const [kind, count] of result.timeline.counts) totals.set(kind, (totals.get(kind) ?? 0) + count);
    if (broken > 0 && values.first) {
      worlds += 1;
      break;
    }
  }
  print(
    `${worlds} worlds from seed ${first}, ${broken} with a violation, ${days.toFixed(1)} simulated days, ${seconds().toFixed(1)} s`,
  );
  for (const [kind, count] of [...totals].sort()) print(`  ${kind}: ${count}`);
  return broken === 0 ? 0 : 1;
}

/** The shortest world of that seed that is found to break a rule. */
async function shrunk(drawn: WorldResult): Promise<WorldResult> {
  let shortest = drawn;
  print(`seed ${drawn.options.seed} breaks a rule, shorter worlds are tried: ${drawn.violation?.message}`);
  await shrink(drawn.options, async (options) => {
    const result = await runWorld(options);
    if (result.violation) shortest = result;
    return result.violation !== undefined;
  });
  return shortest;
}

function report({ options, timeline, violation }: WorldResult, without: ReadonlySet<string>): void {
  const lines = values.timeline || isOne ? timeline.lines : violation ? timeline.lines.slice(-40) : [];
  for (const line of lines) print(line);
  if (violation || isOne) print(`options ${JSON.stringify(options)}`);
  if (!violation) return;
  print(`seed ${options.seed}: ${violation.name === 'Violation' ? violation.message : violation.stack}`);
  // A kind that the seed does not draw anyway does no harm there.
  const absent = faultKinds.filter((kind) => without.has(kind) || !options.faults.includes(kind));
  const faults = absent.length === 0 ? '' : ` --without ${absent}`;
  print(`replay: npm run simulation -- --seed ${options.seed} --operations ${options.operations}${faults}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
