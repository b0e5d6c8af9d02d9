import { type Pending, passes, type Row, ratios, type Target } from './row.ts';
import { median } from './statistics.ts';
import type { Usage } from './usage.ts';

const headings = ['figure', 'value', 'against', 'ratio', 'target', '', 'CPU and memory'];

/** All rows as one Markdown table, which is as readable in a terminal as in `docs/performance.md`. */
export function table(rows: readonly (Row | Pending)[]): string {
  const cells = rows.map((row) => ('pending' in row ? pendingCells(row) : cellsOf(row)));
  const widths = headings.map((heading, i) =>
    Math.max(heading.length, ...cells.map((row) => row[i]?.length ?? 0)),
  );
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(headings), rule, ...cells.map(line)].join('\n');
}

function cellsOf(row: Row): string[] {
  const { figure, unit, values, against, target, usage } = row;
  return [
    figure,
    `${amount(median(values))} ${unit}`,
    against ? `${amount(median(against.values))} (${against.what})` : '',
    against ? withSpread(ratios(row)) : '',
    targetText(target, unit),
    passes(row) ? 'pass' : 'FAIL',
    usage.map(usageText).join('; '),
  ];
}

const pendingCells = ({ figure, pending }: Pending): string[] => [figure, 'pending', pending, '', '', '', ''];

/** The median, and the least and the greatest in brackets. */
function withSpread(values: readonly number[]): string {
  const number = (value: number) => value.toFixed(2);
  return `${number(median(values))} [${number(Math.min(...values))}–${number(Math.max(...values))}]`;
}

function targetText(target: Target, unit: string): string {
  if ('atMost' in target) return `≤ ${target.atMost} ${unit}`;
  if ('atLeast' in target) return `≥ ${target.atLeast} ${unit}`;
  return 'ratioAtLeast' in target ? `≥ ${target.ratioAtLeast}` : `≤ ${target.ratioAtMost}`;
}

function usageText({ role, cores, memory, peakMemory }: Usage): string {
  const cpu = cores === undefined ? '?' : cores.toFixed(2);
  const mib = memory === undefined ? '?' : `${memory.toFixed(0)} (peak ${peakMemory?.toFixed(0)}) MiB`;
  return `${role} ${cpu} cores, ${mib}`;
}

export const amount = (value: number): string =>
  value.toLocaleString('en-US', { maximumSignificantDigits: value >= 1000 ? 4 : 3 });
