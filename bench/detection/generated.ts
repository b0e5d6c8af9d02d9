import { ruleKinds } from '../../domain/detection/rule.ts';
import {
  delaysOf,
  falseAlarms,
  generatedProcesses,
  injectedFaults,
  judged,
  rulesOfCourse,
  stateBytes,
} from '../../test/support/generated-series.ts';
import { median } from '../harness/statistics.ts';

const seedsOfProcess = 5;
const seedsOfFault = 20;

/**
 * Prints how many false alarms novelty raises on processes without a fault, and after how many readings each kind of
 * rule finds each fault, and how much it remembers. Answers whether no process has more than one false alarm in 1,000 values.
 */
export function printGenerated(): boolean {
  const most = judged / 1000;
  const counts = Object.entries(generatedProcesses).map(([name, process]) => {
    const alarms = Array.from({ length: seedsOfProcess }, (_, seed) => falseAlarms(process, seed + 1));
    return { name, alarms };
  });
  console.log(
    `False alarms of novelty in ${judged} values, at most ${most}: median and most of ${seedsOfProcess} runs\n`,
  );
  printTable(
    ['process', 'median', 'most', ''],
    counts.map(({ name, alarms }) => [
      name,
      String(median(alarms)),
      String(Math.max(...alarms)),
      Math.max(...alarms) <= most ? 'pass' : 'FAIL',
    ]),
  );

  const delays = Object.fromEntries(
    ruleKinds.map((kind) => [
      kind,
      Array.from({ length: seedsOfFault }, (_, seed) => delaysOf(rulesOfCourse[kind], seed + 1)),
    ]),
  );
  console.log(
    `\nReadings until a fault in a daily course of 288 readings is found: median of ${seedsOfFault} runs, and in how many\n`,
  );
  printTable(
    ['fault', ...ruleKinds],
    Object.keys(injectedFaults).map((fault) => [
      fault,
      ...ruleKinds.map((kind) => delayText((delays[kind] ?? []).map((found) => found[fault]))),
    ]),
  );
  const bytes = ruleKinds.map((kind) => `${kind} ${stateBytes(rulesOfCourse[kind])}`);
  console.log(`\nBytes that a rule remembers of a series, at most: ${bytes.join(', ')}\n`);
  return counts.every(({ alarms }) => Math.max(...alarms) <= most);
}

/** Nothing where no run finds it. */
function delayText(delays: readonly (number | undefined)[]): string {
  const found = delays.filter((delay) => delay !== undefined);
  if (found.length === 0) return '';
  return found.length === delays.length
    ? String(median(found))
    : `${median(found)} (${found.length} of ${delays.length})`;
}

function printTable(headings: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = headings.map((heading, i) =>
    Math.max(heading.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  for (const row of [headings, widths.map((width) => '-'.repeat(width)), ...rows]) console.log(line(row));
}
