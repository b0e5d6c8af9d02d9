import { isDeviceId, type MetricValue, type Reading, readingLimits } from '../../../domain/telemetry.ts';
import { readingSchema, submittedReading } from '../../http/reading-schema.ts';
import { explain } from '../../http/validation.ts';
import { UsageError } from '../exit-codes.ts';
import { BadValue, isAbsent, numericValue, type Row, textValue } from './cells.ts';
import { type ColumnOptions, type Columns, columnsOf } from './columns.ts';
import type { TimeReader } from './timestamps.ts';

export type Refusal = { readonly column?: string; readonly reason: string };

/** `empty` when no cell of the row holds a value. */
export type Mapped = { readonly reading: Reading } | { readonly refusal: Refusal } | 'empty';

export type RowMapping = {
  map(row: Row): Mapped;
  /** Columns that hold text nobody asked for. */
  leftOut(): readonly string[];
};

/** Rows to readings. Throws `UsageError` when the columns of the file do not say enough. */
export function rowMapping(
  header: readonly string[] | undefined,
  sample: readonly Row[],
  options: ColumnOptions,
  time: TimeReader,
): RowMapping {
  const { device, deviceColumn, timeColumn, metrics, texts, nulls } = options;
  const columnsAreNamed = deviceColumn ?? timeColumn ?? metrics[0] ?? texts[0];
  if (columnsAreNamed === undefined && sample.some(({ values }) => isObject(values.metrics)))
    return { leftOut: () => [], map: (row) => ofOwnForm(row, device, time) };

  const names = header ?? [...new Set(sample.flatMap(({ values }) => Object.keys(values)))];
  if (names.length === 0) return { leftOut: () => [], map: () => unexpected };
  const columns = columnsOf(names, sample, options);
  return { leftOut: columns.leftOut, map: (row) => ofColumns(row, columns, nulls, time) };
}

/** Of a file that is not empty, but of whose first records none could be read. */
const unexpected: Mapped = { refusal: { reason: 'cannot be understood without any good record before it' } };

/** The form the API takes readings in; a history needs the time that the API can do without. */
function ofOwnForm({ values }: Row, device: string | undefined, time: TimeReader): Mapped {
  try {
    const deviceId = device ?? values.deviceId;
    const value = { ...values, deviceId, timestamp: time(values.timestamp) };
    const reading = submittedReading(value, 0);
    if (reading)
      return {
        reading: { deviceId: reading.deviceId, timestamp: value.timestamp, metrics: reading.metrics },
      };
    const [fault] = explain(readingSchema, value, []);
    return { refusal: { column: fault?.path.slice(1) ?? '', reason: fault?.detail ?? 'is no reading' } };
  } catch (error) {
    return refused('timestamp', error);
  }
}

function ofColumns({ values }: Row, columns: Columns, nulls: ReadonlySet<string>, time: TimeReader): Mapped {
  let column = 'column' in columns.device ? columns.device.column : '';
  try {
    const deviceId = 'id' in columns.device ? columns.device.id : deviceIdIn(values[column]);
    column = columns.time;
    const timestamp = time(values[column]);
    const metrics: Record<string, MetricValue> = {};
    let count = 0;
    for (column in values) {
      const value = values[column];
      if (isAbsent(value, nulls)) continue;
      const role = columns.roleOf(column, value);
      if (!role) continue;
      metrics[role.metric] = role.kind === 'text' ? textValue(value) : numericValue(value);
      count += 1;
    }
    if (count === 0) return 'empty';
    if (count <= readingLimits.metrics) return { reading: { deviceId, timestamp, metrics } };
    return {
      refusal: { reason: `has ${count} metrics, and a reading has at most ${readingLimits.metrics}` },
    };
  } catch (error) {
    return refused(column, error);
  }
}

function deviceIdIn(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : value;
  const id = typeof text === 'string' ? text.trim() : text;
  if (isDeviceId(id)) return id;
  throw new BadValue(
    value,
    'must be a device id: letters, digits and . _ : - , starting with a letter or digit, at most 128',
  );
}

function refused(column: string, error: unknown): Mapped {
  if (!(error instanceof BadValue) && !(error instanceof UsageError)) throw error;
  return { refusal: { column, reason: error.message } };
}

const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
