import { count, counted, perSecond, printable, seconds } from '../terminal.ts';
import { type RefusedLine, type Tally, type Totals, totals } from './counts.ts';
import type { HistoryFile } from './import-file.ts';

export type ImportReport = Totals & {
  readonly into: string;
  readonly files: readonly (Totals & { readonly file: string; readonly leftOut: readonly string[] })[];
  readonly devices: number;
  readonly registered: number;
  /** The first of them. */
  readonly refusals: readonly RefusedLine[];
  readonly seconds: number;
  /** All files were read to their end and are in the read models. */
  readonly complete: boolean;
};

export function importReport(
  tally: Tally,
  into: string,
  milliseconds: number,
  complete: boolean,
): ImportReport {
  return {
    into,
    files: tally.files.map((file) => ({ file: file.file, ...totals([file]), leftOut: file.leftOut })),
    ...totals(tally.files),
    devices: tally.devices.size,
    registered: tally.registered,
    refusals: tally.refusals,
    seconds: Math.round(milliseconds) / 1000,
    complete,
  };
}

export function importSummary(report: ImportReport, rejects: string | undefined): string {
  const { accepted, refused, empty, lines, devices, registered } = report;
  const milliseconds = report.seconds * 1000;
  const told = [
    `${report.complete ? 'Imported' : 'Stopped after'} ${counted(accepted, 'reading')} of ${counted(devices, 'device')}` +
      ` (${count(registered)} newly registered) in ${seconds(milliseconds)}, ${perSecond(accepted, milliseconds)}: ${report.into}`,
  ];
  if (empty > 0) told.push(`${counted(empty, 'line')} held no value.`);
  for (const { file, leftOut } of report.files)
    for (const column of leftOut)
      told.push(`${file}: the column "${printable(column)}" is text and was left out; --text imports it.`);
  if (refused > 0)
    told.push(`Refused ${count(refused)} of ${counted(lines, 'line')}:`, ...refusalLines(report, rejects));
  return `${told.join('\n')}\n`;
}

function refusalLines({ refusals, refused }: ImportReport, rejects: string | undefined): string[] {
  const lines = refusals.map(({ file, line, column, reason }) => {
    const where = column === undefined || column === '' ? '' : `${printable(column)}: `;
    return `  ${file}:${line}  ${where}${printable(reason)}`;
  });
  const more = refused - refusals.length;
  if (rejects !== undefined) lines.push(`  all of them are in ${rejects}`);
  else if (more > 0) lines.push(`  and ${count(more)} more: --rejects <file> writes all of them`);
  return lines;
}

export function importProgress(
  histories: readonly HistoryFile[],
  tally: Tally,
  milliseconds: number,
): string {
  const { lines, refused } = totals(tally.files);
  const size = histories.reduce((total, history) => total + (history.size ?? Number.NaN), 0);
  const read = histories.reduce((total, history) => total + history.bytesRead(), 0);
  const share = size > 0 ? `, ${Math.floor((read / size) * 100)} % of the files` : '';
  const problems = refused > 0 ? `, ${count(refused)} refused` : '';
  return `${counted(lines, 'line')}, ${perSecond(lines, milliseconds)}${share}${problems}`;
}
