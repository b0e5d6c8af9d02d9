import {
  isMetricName,
  isReading,
  type MetricValue,
  type Reading,
  readingLimits,
} from '../../domain/telemetry.ts';
import { oldReadingSchema } from '../http/reading-schema.ts';
import { explain } from '../http/validation.ts';
import { InvalidCell, NullCells, numberCell, type Row, shown, storableText, textCell } from './cells.ts';
import { type DeviceReader, deviceReader } from './devices.ts';
import type { RepeatedHours } from './local-time.ts';
import type { MappingPlan } from './mapping-plan.ts';
import { type TimeReader, timeReader } from './timestamps.ts';

type Refusal = { readonly column?: string; readonly reason: string };

/** `empty` when no cell of the row holds a value. */
export type Mapped =
  | {
      readonly reading: Reading;
      /** What the file calls the device, where that is no id. */
      readonly deviceName?: string | undefined;
    }
  | { readonly refusal: Refusal }
  | 'empty';

export type RowMapping = (row: Row) => Mapped;

type Fields = Row['values'];
/** The column that is being read, for whoever catches a fault. */
type Place = { column: string };
type MetricReader = (values: Fields, at: Place) => Record<string, MetricValue>;

/** Rows to readings, as `plan` has it. Throws `UnusableInput` for a zone or time format that there is none of. */
export function rowMapping(plan: MappingPlan, repeated?: RepeatedHours): RowMapping {
  const { form, long, flatten } = plan;
  const time = timeReader(plan.time, repeated);
  const device = deviceReader(plan.device);
  const nulls = new NullCells(plan.nulls);
  if (form === 'readings') return ({ values }) => ofReading(values, plan, device, time, nulls);
  const metrics = form === 'points' ? ofPoint : long ? ofLongForm(plan, nulls) : ofColumns(plan, nulls);
  const series = seriesOf(plan);
  return ({ values: given }) => {
    const values = flatten ? flattened(given) : given;
    const at: Place = { column: '' };
    try {
      const { deviceId, deviceName } = device(values, at);
      at.column = plan.time.columns[0] as string;
      const timestamp = time(timeCell(values, plan.time.columns), series(deviceId, values));
      return mapped({ deviceId, timestamp, metrics: metrics(values, at) }, deviceName);
    } catch (error) {
      return refused(at.column, error);
    }
  };
}

function mapped(reading: Reading, deviceName: string | undefined): Mapped {
  const count = Object.keys(reading.metrics).length;
  if (isReading(reading)) return { reading, deviceName };
  if (count === 0) return 'empty';
  return { refusal: { reason: `has ${count} metrics, and a reading has at most ${readingLimits.metrics}` } };
}

/** What the order of a file is looked at by: the readings of one device, and in the long form of one metric of it. */
export function seriesOf({ long }: Pick<MappingPlan, 'long'>): (deviceId: string, values: Fields) => string {
  return long ? (deviceId, values) => `${deviceId} ${values[long.metric]}` : (deviceId) => deviceId;
}

/** Of several columns, what they hold with spaces between. */
export const timeCell = (values: Fields, columns: readonly string[]): unknown =>
  columns.length === 1
    ? values[columns[0] as string]
    : columns.map((column) => String(values[column] ?? '').trim()).join(' ');

function ofColumns({ metrics, decimal }: MappingPlan, nulls: NullCells): MetricReader {
  return (values, at) => {
    const found: Record<string, MetricValue> = {};
    for (const { column, metric, kind } of metrics) {
      at.column = column;
      const cell = values[column];
      const value = kind === 'text' ? textCell(cell, nulls) : numberCell(cell, decimal, nulls);
      if (value !== undefined) found[metric] = value;
    }
    return found;
  };
}

function ofLongForm({ metrics, decimal, long }: MappingPlan, nulls: NullCells): MetricReader {
  const roles = new Map(metrics.map((role) => [role.column, role]));
  const columns = long as NonNullable<MappingPlan['long']>;
  return (values, at) => {
    at.column = columns.metric;
    const name = metricCell(values[columns.metric]);
    const role = roles.get(name);
    if (!role) return {};
    if (columns.unit !== undefined) checkUnit(values[columns.unit], role, columns.unit, at);
    at.column = columns.value;
    const cell = values[columns.value];
    const value = role.kind === 'text' ? textCell(cell, nulls) : numberCell(cell, decimal, nulls);
    return value === undefined ? {} : { [role.metric]: value };
  };
}

/** The name a row of the long form has its value under. Throws `InvalidCell`. */
export function metricCell(value: unknown): string {
  const name = typeof value === 'string' || typeof value === 'number' ? String(value).trim() : '';
  if (name === '') throw new InvalidCell(value, 'must be the name of a metric');
  return name;
}

/** Readings have no units: values of one metric in two of them would be taken for the same. */
function checkUnit(
  cell: unknown,
  { metric, unit = '' }: MappingPlan['metrics'][number],
  column: string,
  at: Place,
) {
  at.column = column;
  const found = String(cell ?? '').trim();
  if (found !== unit)
    throw new InvalidCell(found, `must be ${shown(unit)}, the unit that ${metric} has in lines before`);
}

/** Text is text here, whatever it looks like. */
function ofPoint(values: Fields, at: Place): Record<string, MetricValue> {
  at.column = 'metric';
  const { metric } = values;
  const value = values.value_text ?? values.value_bool ?? values.value;
  if (typeof metric !== 'string' || !isMetricName(metric))
    throw new InvalidCell(metric, 'must be a metric name');
  at.column = 'value';
  const exact = exactValue(value);
  return exact === undefined ? {} : { [metric]: exact };
}

const noNulls = new NullCells([]);

function exactValue(value: unknown): MetricValue | undefined {
  return typeof value === 'string' ? storableText(value) : numberCell(value, '.', noNulls);
}

/** The form the API takes readings in; a history needs the time that the API can do without. */
function ofReading(
  values: Fields,
  { flatten }: MappingPlan,
  deviceOf: DeviceReader,
  time: TimeReader,
  nulls: NullCells,
): Mapped {
  const at: Place = { column: '' };
  try {
    const { deviceId, deviceName } = deviceOf(values, at);
    at.column = 'timestamp';
    const timestamp = time(values.timestamp, deviceId);
    const given = values.metrics;
    const metrics = isObject(given) ? presentMetrics(flatten ? flattened(given) : given, nulls, at) : given;
    if (isObject(given) && isEmpty(metrics) && !isEmpty(given)) return 'empty';
    const reading = { deviceId, timestamp, metrics };
    if (isReading(reading) && Object.keys(values).every((name) => name in reading))
      return { reading, deviceName };
    const [fault] = explain(oldReadingSchema, { ...values, ...reading }, []);
    return { refusal: { column: fault?.path.slice(1) ?? '', reason: fault?.detail ?? 'is no reading' } };
  } catch (error) {
    return refused(at.column, error);
  }
}

/** Without those that are null; what no metric can be stays, for the schema to explain. */
function presentMetrics(given: Fields, nulls: NullCells, at: Place): Fields {
  const metrics: Record<string, unknown> = Object.create(null);
  for (const [name, value] of Object.entries(given)) {
    at.column = `metrics/${name}`;
    const kept = typeof value === 'string' || isObject(value) ? value : numberCell(value, '.', nulls);
    if (kept !== undefined && !(typeof kept === 'string' && nulls.hasWord(kept.trim()))) metrics[name] = kept;
  }
  return { ...metrics };
}

/** Members of objects, and elements of arrays, as columns of their own, named by the way to them. */
export function flattened(values: Fields): Fields {
  const flat: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(values)) spread(name, value);
  return flat;

  function spread(name: string, value: unknown): void {
    if (typeof value !== 'object' || value === null || value instanceof Date) flat[name] = value;
    else for (const [part, inner] of Object.entries(value)) spread(`${name}.${part}`, inner);
  }
}

function refused(column: string, error: unknown): Mapped {
  if (!(error instanceof InvalidCell)) throw error;
  return { refusal: { column, reason: error.message } };
}

const isEmpty = (value: unknown): boolean => isObject(value) && Object.keys(value).length === 0;

export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
