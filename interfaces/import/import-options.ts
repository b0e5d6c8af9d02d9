import { registration } from '../http/device-schemas.ts';
import type { Decimal, InputFormat } from './cells.ts';
import type { MetricColumn } from './columns.ts';
import type { HistoryOptions, SendingOptions } from './import-file.ts';
import { timeReader } from './timestamps.ts';
import { UnusableInput } from './unusable-input.ts';

/** What the caller says of a file and of what to do with it, by the names of the command's options. */
export type ImportOptions = {
  readonly device?: string | undefined;
  readonly deviceColumn?: readonly string[] | undefined;
  readonly devicePrefix?: string | undefined;
  readonly deviceSlug?: boolean | undefined;
  readonly timeColumn?: string | undefined;
  readonly timeColumns?: string | undefined;
  readonly timeFormat: string;
  readonly tz: string;
  readonly metric?: readonly MetricColumn[] | undefined;
  readonly text?: readonly MetricColumn[] | undefined;
  readonly metricColumn?: string | undefined;
  readonly valueColumn?: string | undefined;
  readonly unitColumn?: string | undefined;
  readonly ignoreColumns?: readonly string[] | undefined;
  readonly null?: readonly string[] | undefined;
  readonly register: boolean;
  readonly name?: string | undefined;
  readonly type: string;
  readonly format: InputFormat;
  readonly encoding?: string | undefined;
  readonly delimiter?: string | undefined;
  readonly decimal?: Decimal | undefined;
  readonly skip: number;
  readonly skipRows: number;
  readonly comment?: string | undefined;
  readonly records?: string | undefined;
  readonly flatten?: boolean | undefined;
  readonly overwrite?: boolean | undefined;
  readonly batch: number;
  readonly show: number;
};

/** Lines that may be left out at the beginning. */
export const mostSkipped = 1_000_000;

/** Throws `UnusableInput` for what makes no sense before anything is read. */
export function historyOptions(options: ImportOptions): HistoryOptions {
  const { device, deviceColumn = [], timeColumn, timeColumns, timeFormat, tz } = options;
  if (device !== undefined && deviceColumn.length > 0)
    throw new UnusableInput(
      '--device says that all lines are of one device, and --device-column that they are not',
    );
  if (device !== undefined && (options.devicePrefix !== undefined || options.deviceSlug))
    throw new UnusableInput(
      '--device-prefix and --device-slug are for the ids in a column, not for --device',
    );
  if (timeColumn !== undefined && timeColumns !== undefined)
    throw new UnusableInput('--time-column names one column, --time-columns several: leave one of them out');
  const time = { format: timeFormat, zone: tz };
  timeReader(time);
  return {
    input: {
      format: options.format,
      encoding: options.encoding,
      csv: {
        delimiter: options.delimiter,
        skip: options.skip,
        skipRows: options.skipRows,
        comment: options.comment,
      },
      records: options.records?.split('.') ?? [],
    },
    columns: {
      device,
      deviceColumns: deviceColumn,
      devicePrefix: options.devicePrefix ?? '',
      deviceSlug: options.deviceSlug ?? false,
      timeColumn,
      timeColumns,
      metricColumn: options.metricColumn,
      valueColumn: options.valueColumn,
      unitColumn: options.unitColumn,
      metrics: options.metric ?? [],
      texts: options.text ?? [],
      ignored: options.ignoreColumns ?? [],
      nulls: options.null ?? [],
      decimal: options.decimal,
      flatten: options.flatten ?? false,
    },
    time,
  };
}

/** Throws `UnusableInput` for what no device can be registered with. */
export function sendingOptions({ name, type, device, ...options }: ImportOptions): SendingOptions {
  if (name !== undefined && device === undefined)
    throw new UnusableInput('--name is for one device: name it with --device');
  const { error } = registration.safeParse({ name: name ?? type, type });
  const fault = error?.issues.at(-1);
  if (fault) throw new UnusableInput(`--${fault.path.join('.')} ${fault.message}`);
  const nameOf = (deviceId: string, deviceName: string | undefined) =>
    name ?? registration.shape.name.safeParse(deviceName).data ?? deviceId;
  return {
    batch: options.batch,
    register: options.register ? { type, nameOf } : undefined,
    shown: options.show,
    overwrite: options.overwrite ?? false,
  };
}

/** Throws `UnusableInput` for what is not one character. */
export function delimiterNamed(text: string): string {
  const char = text === '\\t' || text.toLowerCase() === 'tab' ? '\t' : text;
  if (char.length === 1 && !/["\r\n]/.test(char)) return char;
  throw new UnusableInput('--delimiter must be one character, or tab');
}
