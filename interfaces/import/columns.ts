import { deviceIdForm, isMetricName } from '../../domain/telemetry.ts';
import { type ColumnCells, type ColumnKind, type Decimal, shown } from './cells.ts';
import { UnusableInput } from './unusable-input.ts';

export type MetricColumn = { readonly column: string; readonly metric: string };

/** What the caller says of the columns; what is not said is found out. */
export type ColumnOptions = {
  readonly device: string | undefined;
  /** One, or several that make an id together. */
  readonly deviceColumns: readonly string[];
  readonly devicePrefix: string;
  /** Makes ids of texts that are none. */
  readonly deviceSlug: boolean;
  /** As `--time-column`: one column. */
  readonly timeColumn: string | undefined;
  /** As `--time-columns`: names with commas between them. */
  readonly timeColumns: string | undefined;
  readonly metricColumn: string | undefined;
  readonly valueColumn: string | undefined;
  readonly unitColumn: string | undefined;
  /** Those only, when any is named. */
  readonly metrics: readonly MetricColumn[];
  /** Columns whose cells are text as they are. */
  readonly texts: readonly MetricColumn[];
  /** Names with commas between them, or `*` for all that would be left out. */
  readonly ignored: readonly string[];
  /** Cells that stand for nothing, beside empty ones and the usual words. */
  readonly nulls: readonly string[];
  readonly decimal: Decimal | undefined;
  readonly flatten: boolean;
};

/** Which column is what, before any of them is known to hold numbers or text. */
export type Structure = {
  readonly device: { readonly id: string } | { readonly columns: readonly string[] };
  readonly time: readonly string[];
  /** One metric a row, named by a column of its own. */
  readonly long: { readonly metric: string; readonly value: string; readonly unit?: string } | undefined;
};

const pointColumns = ['timestamp', 'metric', 'value'] as const;
/** In Parquet, where a column has one type. */
const typedColumns = ['deviceId', 'value_text', 'value_bool'];

/** Fieldlog's own export of points: text is text there, whatever it looks like. */
export const isExportOfPoints = (names: readonly string[]): boolean =>
  pointColumns.every((name) => names.includes(name)) &&
  names.every((name) => typedColumns.includes(name) || pointColumns.includes(name as never));

const deviceNames = /^device([ _-]?id)?$/i;
const timeNames = /^_?(timestamp|ts|time|date|date[ _-]?time)$/i;
const influxColumns = ['_time', '_field', '_value'] as const;
/** Of an annotated table of InfluxDB, neither tag nor value. */
export const influxFraming: readonly string[] = ['#1', 'result', 'table', '_start', '_stop', '_measurement'];

export const isInfluxTable = (names: readonly string[]): boolean =>
  influxColumns.every((name) => names.includes(name));

/** Throws `UnusableInput` when neither options nor names say which column is what. */
export function structureOf(names: readonly string[], options: ColumnOptions): Structure {
  const isInflux = isInfluxTable(names) && options.metricColumn === undefined;
  const long = isInflux ? { metric: '_field', value: '_value' } : longForm(names, options);
  return { device: deviceOf(names, options), time: timeOf(names, options), long };
}

function longForm(names: readonly string[], options: ColumnOptions): Structure['long'] {
  const { metricColumn, valueColumn, unitColumn } = options;
  if (metricColumn === undefined && valueColumn === undefined) {
    if (unitColumn !== undefined)
      throw new UnusableInput('--unit-column needs --metric-column and --value-column');
    return isExportOfPoints(names) ? { metric: 'metric', value: 'value' } : undefined;
  }
  if (metricColumn === undefined || valueColumn === undefined)
    throw new UnusableInput(
      '--metric-column and --value-column go together: one names the metric, one holds its value',
    );
  for (const name of [metricColumn, valueColumn, unitColumn]) if (name !== undefined) named(names, name);
  return { metric: metricColumn, value: valueColumn, ...(unitColumn !== undefined && { unit: unitColumn }) };
}

function deviceOf(names: readonly string[], { device, deviceColumns }: ColumnOptions): Structure['device'] {
  if (device === undefined) {
    if (deviceColumns.length > 0) return { columns: deviceColumns.map((name) => named(names, name)) };
    return { columns: [likely(names, deviceNames, 'the device', '--device <id> or --device-column <name>')] };
  }
  if (deviceIdForm.test(device)) return { id: device };
  throw new UnusableInput(
    `--device must be letters, digits and . _ : - , starting with a letter or digit, at most 128, not ${shown(device)}`,
  );
}

function timeOf(names: readonly string[], { timeColumn, timeColumns }: ColumnOptions): readonly string[] {
  if (timeColumns !== undefined) return listedColumns(timeColumns, names);
  if (timeColumn !== undefined) return [named(names, timeColumn)];
  const date = names.find((name) => /^date$/i.test(name));
  const time = names.find((name) => /^time$/i.test(name));
  const option =
    date !== undefined && time !== undefined
      ? `--time-columns "${date},${time}", or --time-column <name>`
      : '--time-column <name>';
  return [likely(names, timeNames, 'the time', option)];
}

function likely(names: readonly string[], form: RegExp, meaning: string, option: string): string {
  const [first, ...others] = names.filter((name) => form.test(name));
  if (first !== undefined && others.length === 0) return first;
  throw new UnusableInput(`say which column is ${meaning}: ${option}; there are ${listed(names)}`);
}

/** Column names with commas between them; a name may have commas of its own. Throws `UnusableInput`. */
function listedColumns(text: string, names: readonly string[]): readonly string[] {
  if (names.includes(text)) return [text];
  return text.split(',').map((name) => named(names, name.trim()));
}

function named(names: readonly string[], wanted: string): string {
  if (names.includes(wanted)) return wanted;
  throw new UnusableInput(`there is no column ${shown(wanted)}; there are ${listed(names)}`);
}

const listedAtMost = 30;
const listed = (names: readonly string[]): string => {
  const more = names.length > listedAtMost ? ` and ${names.length - listedAtMost} more` : '';
  return names.slice(0, listedAtMost).map(shown).join(', ') + more;
};

type ColumnFate = 'metric' | 'left out' | 'ignored' | 'not asked for' | 'empty';

/** What became of a column, or of one metric of the long form, and how many cells it has. */
export type ColumnReport = {
  readonly column: string;
  readonly is: 'time' | 'device' | 'metric name' | 'value' | 'unit' | ColumnFate;
  readonly type?: ColumnKind;
  readonly metric?: string;
  readonly cells: number;
  /** Of them, words and numbers that stand for nothing. */
  readonly nulls: number;
  /** Why it was left out, and what would import it. */
  readonly reason?: string;
};

type MetricRole = MetricColumn & { readonly kind: ColumnKind };

/**
 * Settles what each column gives by its name and by all that it holds; `others` are columns beside those of the long
 * form. Throws `UnusableInput` for names that make no metric, and when nothing is left.
 */
export function rolesOf(
  cells: ReadonlyMap<string, ColumnCells>,
  others: ReadonlyMap<string, ColumnCells>,
  decimal: Decimal,
  { metrics, texts, ignored, flatten }: ColumnOptions,
): { readonly roles: readonly MetricRole[]; readonly columns: readonly ColumnReport[] } {
  const names = [...cells.keys(), ...others.keys()];
  const taken = new Map<string, MetricRole>();
  const asked = new Map<string, MetricRole>();
  for (const { column, metric } of metrics)
    asked.set(named(names, column), { column, metric, kind: 'number' });
  for (const { column, metric } of texts) asked.set(named(names, column), { column, metric, kind: 'text' });
  const ignoresRest = ignored.includes('*');
  const isIgnored = new Set(
    ignored.filter((text) => text !== '*').flatMap((text) => listedColumns(text, names)),
  );

  const columns = [...cells].map(([column, counts]): ColumnReport => {
    const { cells: held, nulls } = counts;
    const found = { column, cells: held, nulls };
    const role = asked.get(column);
    if (role) return { ...found, is: 'metric', ...take(role) };
    if (isIgnored.has(column)) return { ...found, is: 'ignored' };
    if (metrics.length > 0) return { ...found, is: 'not asked for' };
    const kind = counts.kind(decimal);
    if (kind === undefined) return { ...found, is: 'empty' };
    if (kind === 'text' || isNameless(column))
      return leftOut(found, reasonOf(column, counts, decimal, flatten));
    refuseSecondOf(column, names);
    return { ...found, is: 'metric', ...take({ column, metric: metricNamed(column), kind }) };
  });
  for (const [column, { cells: held, nulls }] of others) {
    const found = { column, cells: held, nulls };
    if (isIgnored.has(column)) columns.push({ ...found, is: 'ignored' });
    else if (held === 0) columns.push({ ...found, is: 'empty' });
    else columns.push(leftOut(found, 'stands beside metric and value'));
  }
  if (taken.size === 0 && columns.some(({ is }) => is === 'left out'))
    throw new UnusableInput(
      `no column holds numbers: name one with --metric or --text; there are ${listed(names)}`,
    );
  return { roles: [...taken.values()], columns };

  function leftOut(found: Omit<ColumnReport, 'is'>, reason: string): ColumnReport {
    return ignoresRest ? { ...found, is: 'ignored' } : { ...found, is: 'left out', reason };
  }

  function take(role: MetricRole): { readonly metric: string; readonly type: ColumnKind } {
    const other = taken.get(role.metric);
    if (other !== undefined)
      throw new UnusableInput(
        `the columns ${shown(other.column)} and ${shown(role.column)} both give the metric ${role.metric}: ` +
          `--metric "${role.column}=<name>" gives another, --ignore-columns leaves one out`,
      );
    taken.set(role.metric, role);
    return { metric: role.metric, type: role.kind };
  }
}

/** Of CSV: the column was given the number of its place for a name. */
export const isNameless = (column: string): boolean => /^#\d+$/.test(column);

function refuseSecondOf(column: string, names: readonly string[]): void {
  const [, name] = /^(.+)#\d+$/.exec(column) ?? [];
  if (name === undefined || !names.includes(name)) return;
  throw new UnusableInput(
    `two columns are named ${shown(name)}: --metric "${column}=<name>" imports the second, --ignore-columns "${column}" leaves it out`,
  );
}

function reasonOf(column: string, counts: ColumnCells, decimal: Decimal, flatten: boolean): string {
  if (counts.objects > 0 && !flatten) return 'holds objects; --flatten imports their fields';
  if (isNameless(column) && counts.kind(decimal) === 'number')
    return `has no name; --metric "${column}=<name>" imports it`;
  if (decimal === '.' && counts.kind(',') === 'number')
    return 'holds numbers with a comma; --decimal , imports it if that is the decimal point';
  return 'is text; --text imports it';
}

/** `column` or `column=metric`; a metric's name follows from the column's when it is not given. */
export function metricColumn(text: string): MetricColumn {
  const at = text.lastIndexOf('=');
  const column = at === -1 ? text : text.slice(0, at);
  const metric = at === -1 ? metricNamed(text) : text.slice(at + 1);
  if (column !== '' && isMetricName(metric)) return { column, metric };
  throw new UnusableInput(
    `"${text}" must be a column, or column=metric with a metric of letters, digits and _ . : / - that does not start with : or -`,
  );
}

/** Throws `UnusableInput` for a name of which nothing is left. */
function metricNamed(column: string): string {
  const name = column.trim().replace(/[^A-Za-z0-9_.:/-]+/g, '_');
  const metric = isMetricName(name) ? name : `_${name}`;
  if (/[A-Za-z0-9]/.test(name) && isMetricName(metric)) return metric;
  throw new UnusableInput(
    `the column ${shown(column)} gives no metric name: give it one with --metric "${column}=<name>", or leave it out with --ignore-columns`,
  );
}
