import type { Command } from 'commander';
import type { AuditCounts, AuditReport, Difference } from '../../../application/operations/audit.ts';
import { parseIsoTime } from '../../http/iso-time.ts';
import { auditJson } from '../../http/operation-schemas.ts';
import { type CommandContext, jsonOption, print, withOperations } from '../command-context.ts';
import { exitCodes, exitCodesHelp, UsageError } from '../exit-codes.ts';
import { count, counted, table } from '../terminal.ts';

const help = `
Counts every accepted reading in the log again and compares the counts with the ledger and the tables, for each device
and UTC day of arrival:

  accepted = stored + duplicate + corrected + dead-lettered + late + in flight
  rows     = stored - retracted - expired

Examples:
  fieldlog audit
  fieldlog audit --device boiler-7 --from 2026-03-01 --to 2026-04-01
`;

type Options = {
  readonly device?: string;
  readonly from?: string;
  readonly to?: string;
  readonly json: boolean;
};

export function auditCommand(program: Command, context: CommandContext): void {
  program
    .command('audit')
    .description('Check that every accepted reading is stored; exit code 1 on any difference')
    .option('--device <id>', 'this device only')
    .option('--from <day>', 'days of arrival from this one on, as 2026-03-29 or an ISO 8601 time')
    .option('--to <day>', 'and before this one')
    .addOption(jsonOption())
    .addHelpText('after', help + exitCodesHelp)
    .action(({ device, from, to, json }: Options) =>
      withOperations(context, 'audit', async (operations) => {
        const query = { deviceId: device, from: dayOf('--from', from), to: dayOf('--to', to) };
        const report = await operations.audit(query, context.signal);
        if (report.differenceCount > 0) context.exitCode = exitCodes.refused;
        await print(context, auditJson(report), () => auditText(report), { json });
      }),
    );
}

function dayOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const at = parseIsoTime(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
  if (at === undefined) throw new UsageError(`${option} must be a day such as 2026-03-29`);
  return at;
}

const columns = {
  accepted: 'accepted',
  stored: 'stored',
  duplicate: 'duplicate',
  corrected: 'corrected',
  deadLettered: 'dead-lettered',
  late: 'late',
  inFlight: 'in flight',
  retracted: 'retracted',
  expired: 'expired',
  rows: 'rows',
} as const satisfies Record<keyof AuditCounts, string>;

function auditText({ totals, days, differenceCount, differences, uncheckedBefore }: AuditReport): string {
  const names = Object.keys(columns) as (keyof AuditCounts)[];
  const row = (label: string, counts: AuditCounts) => [label, ...names.map((name) => count(counts[name]))];
  const headings = Object.values(columns);
  const rows = [...days.map((one) => row(dayText(one.day), one)), row('all', totals)];
  const totalsTable = table(['day', ...headings], rows, headings);
  const unchecked =
    uncheckedBefore === null
      ? ''
      : `Not checked: readings that arrived before ${dayText(uncheckedBefore)}; the log no longer has all of them.\n`;
  if (differenceCount === 0) return `${totalsTable}${unchecked}No difference.\n`;
  const more =
    differenceCount > differences.length ? `  and ${count(differenceCount - differences.length)} more\n` : '';
  return `${totalsTable}${unchecked}${counted(differenceCount, 'difference')}:\n${differences.map(differenceText).join('')}${more}`;
}

function differenceText({ deviceId, day, kind, expected, found }: Difference): string {
  const who = `  ${deviceId === '' ? 'readings of no device' : deviceId} on ${dayText(day)}: `;
  const off = expected > found ? `${count(expected - found)} missing` : `${count(found - expected)} too many`;
  return kind === 'unaccounted'
    ? `${who}${counted(expected, 'reading')} in the log, the ledger accounts for ${count(found)}: ${off}\n`
    : `${who}${counted(expected, 'row')} by the ledger, the table has ${count(found)}: ${off}\n`;
}

const dayText = (day: number): string => new Date(day).toISOString().slice(0, 10);
