import { registration } from '../../http/device-schemas.ts';
import { UsageError } from '../exit-codes.ts';
import type { MetricColumn } from './columns.ts';
import type { HistoryOptions, SendingOptions } from './import-file.ts';
import type { InputFormat } from './input-file.ts';
import { timeReader } from './timestamps.ts';

/** As they are given on the command line. */
export type ImportOptions = {
  readonly device?: string;
  readonly deviceColumn?: string;
  readonly timeColumn?: string;
  readonly timeFormat: string;
  readonly tz: string;
  readonly metric?: readonly MetricColumn[];
  readonly text?: readonly MetricColumn[];
  readonly null?: readonly string[];
  readonly register: boolean;
  readonly name?: string;
  readonly type: string;
  readonly format: InputFormat;
  readonly delimiter?: string;
  readonly batch: number;
  readonly url?: string;
  readonly retry: number;
  readonly rejects?: string;
  readonly show: number;
  readonly json?: boolean;
};

/** Throws `UsageError` for what makes no sense before anything is read. */
export function historyOptions(options: ImportOptions): HistoryOptions {
  const { device, deviceColumn, timeColumn, format, delimiter } = options;
  if (device !== undefined && deviceColumn !== undefined)
    throw new UsageError(
      '--device says that all lines are of one device, and --device-column that they are not',
    );
  return {
    format,
    delimiter,
    columns: {
      ...(device !== undefined && { device }),
      ...(deviceColumn !== undefined && { deviceColumn }),
      ...(timeColumn !== undefined && { timeColumn }),
      metrics: options.metric ?? [],
      texts: options.text ?? [],
      nulls: new Set(options.null),
    },
    time: timeReader(options.timeFormat, options.tz),
  };
}

/** Throws `UsageError` for what no device can be registered with. */
export function sendingOptions({ name, type, device, ...options }: ImportOptions): SendingOptions {
  if (name !== undefined && device === undefined)
    throw new UsageError('--name is for one device: name it with --device');
  const { error } = registration.safeParse({ name: name ?? type, type });
  const fault = error?.issues.at(-1);
  if (fault) throw new UsageError(`--${fault.path.join('.')} ${fault.message}`);
  return {
    batch: options.batch,
    register: options.register ? { ...(name !== undefined && { name }), type } : undefined,
    shown: options.show,
  };
}

export function delimiter(text: string): string {
  const char = text === '\\t' || text.toLowerCase() === 'tab' ? '\t' : text;
  if (char.length === 1 && !/["\r\n]/.test(char)) return char;
  throw new UsageError('--delimiter must be one character, or tab');
}
