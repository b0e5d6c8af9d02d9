import type { Command } from 'commander';
import type { AuditReport, Difference, TotalDifference } from '../../../application/operations/audit.ts';
import type { AuditCounts } from '../../../application/operations/audit-entries.ts';
import type { DeviceAuditQuery, DeviceAuditReport } from '../../../application/operations/device-audit.ts';
import { isDeviceId } from '../../../domain/telemetry.ts';
import { parseIsoTime } from '../../http/iso-time.ts';
import { auditJson } from '../../http/operation-schemas.ts';
import { type CommandContext, jsonOption, print, withApplication } from '../command-context.ts';
import { exitCodes, exitCodesHelp, Refused, UsageError } from '../exit-codes.ts';
import { count, counted, table } from '../terminal.ts';

const help = `
Counts every accepted reading in the log again and compares the counts with the ledger and the tables, for each device
and UTC day of arrival:

  accepted = stored + duplicate + corrected + dead-lettered + late + in flight
  rows     = stored - retracted - expired

Newest values and rollups are compared too: minutes with the points, hours with the minutes, days with the hours. What
retention may have removed is left out. The totals that the status shows are compared with the sums of the ledger. Rows of the device list are compared with the streams that they come from, a
thousand at random unless --devices says otherwise.

Examples:
  fieldlog audit
  fieldlog audit --sample 1%
  fieldlog audit --devices all
  fieldlog audit --device boiler-7 --from 2026-03-01 --to 2026-04-01
`;

type Options = {
  readonly device?: string;
  readonly from?: string;
  readonly to?: string;
  readonly devices?: number | 'all';
  readonly sample?: string;
  readonly json: boolean;
};

export function auditCommand(program: Command, context: CommandContext): void {
  program
    .command('audit')
    .description('Check that every accepted reading is stored; exit code 1 on any difference')
    .option('--device <id>', 'this device only')
    .option('--from <day>', 'days of arrival from this one on, as 2026-03-29 or an ISO 8601 time')
    .option('--to <day>', 'and before this one')
    .option('--sample <share>', 'telemetry of a share of the devices, chosen at random, as 1%')
    .option('--devices <count>', 'compare so many devices with their streams, or all', devicesOf)
    .addOption(jsonOption())
    .addHelpText('after', help + exitCodesHelp)
    .action(({ device, from, to, sample, devices, json }: Options) =>
      withApplication(context, 'replay', async (application) => {
        const query = {
          deviceId: deviceOf(device),
          from: dayOf('--from', from),
          to: dayOf('--to', to),
          sample: shareOf(sample),
        };
        if (device !== undefined && sample !== undefined)
          throw new UsageError('--sample chooses devices: it does not go with --device');
        if (query.from !== undefined && query.to !== undefined && query.from >= query.to)
          throw new UsageError('--from must be before --to, which is not included');
        const operations = await application.operations('audit');
        const report = await operations.audit(query, context.signal);
        const isOfDays = query.from !== undefined || query.to !== undefined;
        const which = deviceAuditQuery(query.deviceId, devices ?? (isOfDays ? 0 : usualSample));
        const ofDevices = which && (await (await application.deviceAudit())(which, context.signal));
        if (query.deviceId !== undefined && isNothing(report) && !ofDevices?.differenceCount) {
          const session = await application.session();
          if ((await session.devices.history(query.deviceId, { limit: 1 })).length === 0)
            throw new Refused(`There is no device ${query.deviceId}, and no reading of it in the log`);
        }
        const differences = report.differenceCount + (ofDevices?.differenceCount ?? 0);
        if (differences > 0) context.exitCode = exitCodes.refused;
        const result = { ...auditJson(report), ...(ofDevices && { devices: ofDevices }) };
        const text = () => (ofDevices ? devicesText(ofDevices) : '') + auditText(report);
        await print(context, result, text, { json });
      }),
    );
}

function deviceOf(text: string | undefined): string | undefined {
  if (text === undefined || isDeviceId(text)) return text;
  throw new UsageError(
    '--device must be a device id: letters, digits and . _ : - that start with a letter or digit, at most 128',
  );
}

function devicesOf(text: string): number | 'all' {
  if (text === 'all') return text;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError('--devices must be a whole number or all');
}

const usualSample = 1000;

function deviceAuditQuery(
  deviceId: string | undefined,
  devices: number | 'all',
): DeviceAuditQuery | undefined {
  if (devices === 0) return undefined;
  if (deviceId !== undefined) return { deviceId };
  return devices === 'all' ? 'all' : { sample: devices };
}

const isNothing = ({ totals, differenceCount }: AuditReport): boolean =>
  differenceCount === 0 && Object.values(totals).every((total) => total === 0);

function dayOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const at = parseIsoTime(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
  if (at === undefined) throw new UsageError(`${option} must be a day such as 2026-03-29`);
  return at;
}

function shareOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const percent = /^(\d{1,3}(?:\.\d{1,4})?)%$/.exec(text)?.[1];
  const share = Number(percent) / 100;
  if (!(share > 0 && share <= 1)) throw new UsageError('--sample must be above 0% and at most 100%, as 1%');
  return share;
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

function auditText(report: AuditReport): string {
  const { totals, days, differenceCount, totalDifferences, differences, uncheckedBefore } = report;
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
  const lines = [...totalDifferences.map(totalText), ...differences.map(differenceText)];
  const more = differenceCount > lines.length ? `  and ${count(differenceCount - lines.length)} more\n` : '';
  return `${totalsTable}${unchecked}${counted(differenceCount, 'difference')}:\n${lines.join('')}${more}`;
}

const totalText = ({ outcome, expected, found }: TotalDifference): string =>
  `  total of ${columns[outcome]}: ${count(expected)} by the ledger, the status says ${count(found)}\n`;

function differenceText({ deviceId, day, kind, expected, found }: Difference): string {
  const who = `  ${deviceId === '' ? 'readings of no device' : deviceId} on ${dayText(day)}: `;
  const off =
    expected === found
      ? 'values differ'
      : expected > found
        ? `${count(expected - found)} missing`
        : `${count(found - expected)} too many`;
  return `${who}${comparedText[kind](expected, found)}: ${off}\n`;
}

const rollupText = (level: string, finer: string) => (expected: number, found: number) =>
  `${counted(expected, 'point')} in the ${finer}, the rollups by ${level} have ${count(found)}`;

const comparedText: Record<Difference['kind'], (expected: number, found: number) => string> = {
  unaccounted: (expected, found) =>
    `${counted(expected, 'reading')} in the log, the ledger accounts for ${count(found)}`,
  rows: (expected, found) => `${counted(expected, 'row')} by the ledger, the table has ${count(found)}`,
  minutes: rollupText('minute', 'table'),
  hours: rollupText('hour', 'minutes'),
  days: rollupText('day', 'hours'),
  latest: (expected, found) =>
    `${counted(expected, 'newest value')} by the points, the table has ${count(found)}`,
};

const dayText = (day: number): string => new Date(day).toISOString().slice(0, 10);

function devicesText({ checked, differenceCount, differences }: DeviceAuditReport): string {
  const compared = `Devices compared with their streams: ${count(checked)}, `;
  if (differenceCount === 0) return `${compared}no difference.\n`;
  const lines = differences.map(({ deviceId, kind, detail }) => `  ${deviceId}, ${kind}: ${detail}\n`);
  const more =
    differenceCount > differences.length ? `  and ${count(differenceCount - differences.length)} more\n` : '';
  return `${compared}${counted(differenceCount, 'difference')}\n${lines.join('')}${more}`;
}
