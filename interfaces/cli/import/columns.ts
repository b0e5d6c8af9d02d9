import { deviceIdForm, isMetricName } from '../../../domain/telemetry.ts';
import { UsageError } from '../exit-codes.ts';
import { type ColumnKind, isAbsent, kindOf, type Row } from './cells.ts';

export type MetricColumn = { readonly column: string; readonly metric: string };

/** What the caller says of the columns; what is not said is found out. */
export type ColumnOptions = {
  readonly device?: string;
  readonly deviceColumn?: string;
  readonly timeColumn?: string;
  /** Those only, when any is named. */
  readonly metrics: readonly MetricColumn[];
  /** Columns whose cells are text as they are. */
  readonly texts: readonly MetricColumn[];
  /** Cells that stand for nothing, beside empty ones. */
  readonly nulls: ReadonlySet<string>;
};

export type MetricRole = { readonly kind: ColumnKind; readonly metric: string };

export type Columns = {
  readonly device: { readonly id: string } | { readonly column: string };
  readonly time: string;
  /** What a column gives, `undefined` for one that is left out. Throws `UsageError` when its name gives no metric. */
  roleOf(column: string, value: unknown): MetricRole | undefined;
  /** Columns met so far that hold text and are left out. */
  leftOut(): readonly string[];
};

const deviceNames = /^device([ _-]?id)?$/i;
const timeNames = /^(timestamp|ts|time|date|date[ _-]?time)$/i;

/** Settles the part of each column by its name and by what it holds in `sample`. Throws `UsageError`. */
export function columnsOf(names: readonly string[], sample: readonly Row[], options: ColumnOptions): Columns {
  const device = deviceOf(names, options);
  const time =
    named(names, options.timeColumn) ?? likely(names, timeNames, 'the time', '--time-column <name>');
  const roles = new Map<string, MetricRole | undefined>();
  const taken = new Map<string, string>();
  const left = new Set<string>();

  roles.set(time, undefined);
  if ('column' in device) roles.set(device.column, undefined);
  for (const { column, metric } of options.metrics) give(named(names, column), 'number', metric);
  for (const { column, metric } of options.texts) give(named(names, column), 'text', metric);
  if (options.metrics.length === 0) for (const name of names) sampled(name);
  if (taken.size === 0 && left.size > 0)
    throw new UsageError(
      `no column holds numbers: name one with --metric or --text; there are ${listed(names)}`,
    );
  return { device, time, roleOf, leftOut: () => [...left] };

  function roleOf(column: string, value: unknown): MetricRole | undefined {
    if (!roles.has(column) && options.metrics.length === 0) settle(column, kindOf(value));
    return roles.get(column);
  }

  /** A column of which most cells are text is one of text; else the lines that hold some are refused. */
  function sampled(column: string): void {
    const cells = sample.map(({ values }) => values[column]).filter((cell) => !isAbsent(cell, options.nulls));
    if (roles.has(column) || cells.length === 0) return;
    const numbers = cells.filter((cell) => kindOf(cell) === 'number').length;
    settle(column, 2 * numbers >= cells.length ? 'number' : 'text');
  }

  function settle(column: string, kind: ColumnKind): void {
    if (kind === 'number' && column !== '') give(column, kind, metricNamed(column));
    else {
      roles.set(column, undefined);
      left.add(column);
    }
  }

  function give(column: string | undefined, kind: ColumnKind, metric: string): void {
    if (column === undefined) return;
    const other = taken.get(metric);
    if (other !== undefined)
      throw new UsageError(`the columns "${other}" and "${column}" both give the metric ${metric}`);
    taken.set(metric, column);
    roles.set(column, { kind, metric });
  }
}

/** `column` or `column=metric`; a metric's name follows from the column's when it is not given. */
export function metricColumn(text: string): MetricColumn {
  const at = text.lastIndexOf('=');
  const column = at === -1 ? text : text.slice(0, at);
  const metric = at === -1 ? metricNamed(text) : text.slice(at + 1);
  if (column !== '' && isMetricName(metric)) return { column, metric };
  throw new UsageError(
    `"${text}" must be a column, or column=metric with a metric of letters, digits and _ . : / - that starts with a letter or _`,
  );
}

/** Throws `UsageError` for a name of which nothing is left. */
function metricNamed(column: string): string {
  const name = column
    .trim()
    .replace(/[^A-Za-z0-9_.:/-]+/g, '_')
    .replace(/^(?![A-Za-z_])/, '_');
  if (/[A-Za-z0-9]/.test(name) && isMetricName(name)) return name;
  throw new UsageError(
    `the column "${column}" gives no metric name: give it one with --metric "${column}=<name>"`,
  );
}

function deviceOf(names: readonly string[], { device, deviceColumn }: ColumnOptions): Columns['device'] {
  if (device === undefined) {
    const column = named(names, deviceColumn);
    return {
      column: column ?? likely(names, deviceNames, 'the device', '--device <id> or --device-column <name>'),
    };
  }
  if (deviceIdForm.test(device)) return { id: device };
  throw new UsageError(
    `--device must be letters, digits and . _ : - , starting with a letter or digit, at most 128, not "${device}"`,
  );
}

function named(names: readonly string[], wanted: string | undefined): string | undefined {
  if (wanted === undefined || names.includes(wanted)) return wanted;
  throw new UsageError(`there is no column "${wanted}"; there are ${listed(names)}`);
}

function likely(names: readonly string[], form: RegExp, what: string, option: string): string {
  const [first, ...others] = names.filter((name) => form.test(name));
  if (first !== undefined && others.length === 0) return first;
  throw new UsageError(`say which column is ${what}: ${option}; there are ${listed(names)}`);
}

const listed = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(', ');
