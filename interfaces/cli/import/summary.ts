import { shown } from '../../import/cells.ts';
import { type FileCounts, leftOut, totals } from '../../import/counts.ts';
import type { InputFile } from '../../import/input-file.ts';
import type { DryRun, ImportReport } from '../../import/report.ts';
import { printable } from '../../printable.ts';
import { count, counted, perSecond, seconds, table } from '../terminal.ts';

export function importSummary(report: ImportReport, rejects: string | undefined): string {
  const { refused, empty, lines, conflicts, overwriting, repeated, late, dryRun } = report;
  const text = [headline(report)];
  for (const file of report.files) {
    for (const note of file.notes) text.push(`${file.file}: ${printable(note)}.`);
    for (const { column, cells, reason } of leftOut(file))
      text.push(
        `${file.file}: the column ${shown(column)}, ${counted(cells, 'cell')}, was left out: it ${reason}.`,
      );
    const others = file.columns.filter(({ is, cells }) => is === 'not asked for' && cells > 0);
    if (others.length > 0)
      text.push(`${file.file}: not asked for: ${others.map(({ column }) => shown(column)).join(', ')}.`);
  }
  if (report.files.some((file) => file.leftOut.length > 0))
    text.push('--ignore-columns <names> leaves columns out without exit code 1.');
  if (empty > 0) text.push(`${counted(empty, 'line')} held no value.`);
  if (repeated > 0) text.push(`${counted(repeated, 'line')} repeated what lines before had.`);
  if (overwriting > 0) text.push(`${counted(overwriting, 'line')} took the place of values of lines before.`);
  if (late)
    text.push(`${counted(late, 'reading')} came later than their points are kept, and are in no table.`);
  if (refused > 0)
    text.push(`Refused ${count(refused)} of ${counted(lines, 'line')}:`, ...refusalLines(report, rejects));
  if (conflicts > 0)
    text.push(
      `${counted(conflicts, 'line')} contradicted lines before: --overwrite lets the last one count.`,
    );
  if (dryRun) text.push(...dryRunLines(report, dryRun));
  return `${text.join('\n')}\n`;
}

function headline({
  complete,
  dryRun,
  readings,
  accepted,
  devices,
  registered,
  into,
  ...report
}: ImportReport): string {
  const milliseconds = report.seconds * 1000;
  const lines = accepted === readings ? '' : ` from ${counted(accepted, 'line')}`;
  const imported = `${counted(readings, 'reading')}${lines} of ${counted(devices, 'device')}`;
  if (dryRun) return `Would import ${imported}`;
  return (
    `${complete ? 'Imported' : 'Stopped after'} ${imported} (${count(registered)} newly registered) ` +
    `in ${seconds(milliseconds)}, ${perSecond(accepted, milliseconds)}: ${into}`
  );
}

function refusalLines({ refusals, refused }: ImportReport, rejects: string | undefined): string[] {
  const lines = refusals.map(({ file, line, column, reason }) => {
    const where = column === undefined || column === '' ? '' : `${printable(column)}: `;
    return `  ${file}:${line}  ${where}${printable(reason)}`;
  });
  const more = refused - refusals.length;
  if (rejects !== undefined)
    lines.push(`  all of them are in ${rejects}; fieldlog import --from-rejects imports them again`);
  else if (more > 0) lines.push(`  and ${count(more)} more: --rejects <file> writes all of them`);
  return lines;
}

function dryRunLines({ files }: ImportReport, { first, earliest, latest }: DryRun): string[] {
  const lines: string[] = [];
  for (const { columns } of files)
    if (columns.length > 0)
      lines.push(
        table(
          ['column', 'is', 'metric', 'type', 'cells', 'null'],
          columns.map(({ column, is, metric, type, cells, nulls }) => [
            column,
            is,
            metric ?? '',
            type ?? '',
            count(cells),
            count(nulls),
          ]),
          ['cells', 'null'],
        ).trimEnd(),
      );
  if (earliest !== null) lines.push(`Times from ${earliest} to ${latest}`);
  if (first.length > 0)
    lines.push('The first readings:', ...first.map((reading) => `  ${JSON.stringify(reading)}`));
  return lines;
}

/** How far the files have been read, and what became of their lines once that is known. */
export function importProgress(
  inputs: readonly InputFile[],
  files: readonly FileCounts[] = [],
  milliseconds = 0,
): string {
  const { lines, refused } = totals(files);
  const size = inputs.reduce((total, input) => total + input.size, 0);
  const read = inputs.reduce((total, input) => total + input.bytesRead, 0);
  const share = size > 0 ? [`${Math.floor((read / size) * 100)} % of the files`] : [];
  const sent = files.length > 0 ? [counted(lines, 'line'), perSecond(lines, milliseconds)] : [];
  const problems = refused > 0 ? [`${count(refused)} refused`] : [];
  return [...sent, ...share, ...problems].join(', ');
}
