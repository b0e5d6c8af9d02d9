import { z } from 'zod';
import type { TimeZone } from '../../application/ports/calendar.ts';
import type { Point } from '../../application/ports/queries.ts';
import type { Bucket } from '../../application/telemetry/buckets.ts';
import type { RollupStats } from '../../domain/rollup.ts';
import type { MetricValue } from '../../domain/telemetry.ts';
import { consistencyHeaders } from './consistency.ts';
import { next } from './cursor.ts';
import { isoTimes, zonedIsoTimes } from './iso-time.ts';
import type { AnswerSpec } from './route.ts';
import { csvValue, jsonValue, type RowShape } from './row-format.ts';
import { deviceId } from './text-schemas.ts';

const value = z.union([z.number(), z.boolean(), z.string()]);

export const pointsAnswer = z
  .strictObject({
    points: z.array(
      z.strictObject({
        deviceId: deviceId.optional().meta({ description: 'When the query is not about one device.' }),
        timestamp: z.iso.datetime().meta({ description: 'By the device, ISO 8601, UTC.' }),
        metric: z.string(),
        value,
      }),
    ),
    next,
  })
  .meta({ id: 'Points' });

export const aggregates = ['avg', 'min', 'max', 'sum', 'count', 'first', 'last'] as const;
type Aggregate = (typeof aggregates)[number];

const ofNumbers = z.number().nullable().optional().meta({ description: 'Of the values that are numbers.' });

export const bucketsAnswer = z
  .strictObject({
    buckets: z.array(
      z.strictObject({
        start: z.iso.datetime({ offset: true }).meta({ description: 'Inclusive, by the clocks of `tz`.' }),
        end: z.iso.datetime({ offset: true }).meta({ description: 'Exclusive.' }),
        metric: z.string(),
        avg: ofNumbers,
        min: ofNumbers,
        max: ofNumbers,
        sum: ofNumbers,
        count: z.int().optional().meta({ description: 'Points, whatever their values.' }),
        first: value.optional(),
        last: value.optional(),
      }),
    ),
    next,
  })
  .meta({ id: 'Buckets' });

export const rowsAnswer = (description: string, json: z.ZodType): AnswerSpec => ({
  description: `${description} In CSV and NDJSON the cursor of the next page is the trailer \`Fieldlog-Next\`.`,
  content: { 'application/json': json, 'application/x-ndjson': z.string(), 'text/csv': z.string() },
  headers: consistencyHeaders,
});

/** Device ids and metric names hold no character that JSON or CSV would have to escape. */
export function pointShape(withDevice: boolean): RowShape<Point> {
  const iso = isoTimes();
  const columns = ['timestamp', 'metric', 'value'];
  if (!withDevice)
    return {
      name: 'points',
      columns,
      json: ({ timestamp, metric, value }) =>
        `{"timestamp":"${iso(timestamp)}","metric":"${metric}","value":${jsonValue(value)}}`,
      csv: ({ timestamp, metric, value }) => `${iso(timestamp)},${metric},${csvValue(value)}`,
    };
  return {
    name: 'points',
    columns: ['deviceId', ...columns],
    json: ({ deviceId, timestamp, metric, value }) =>
      `{"deviceId":"${deviceId}","timestamp":"${iso(timestamp)}","metric":"${metric}","value":${jsonValue(value)}}`,
    csv: ({ deviceId, timestamp, metric, value }) =>
      `${deviceId},${iso(timestamp)},${metric},${csvValue(value)}`,
  };
}

export function bucketShape(asked: readonly Aggregate[], zone: TimeZone): RowShape<Bucket> {
  const iso = zonedIsoTimes(zone);
  return {
    name: 'buckets',
    columns: ['start', 'end', 'metric', ...asked],
    json({ start, end, metric, stats }) {
      const values = asked.map((name) => `,"${name}":${jsonValue(aggregateOf[name](stats))}`);
      return `{"start":"${iso(start)}","end":"${iso(end)}","metric":"${metric}"${values.join('')}}`;
    },
    csv({ start, end, metric, stats }) {
      const values = asked.map((name) => `,${csvValue(aggregateOf[name](stats))}`);
      return `${iso(start)},${iso(end)},${metric}${values.join('')}`;
    },
  };
}

const aggregateOf: Record<Aggregate, (stats: RollupStats) => MetricValue | null> = {
  avg: (stats) => (stats.numbers === 0 ? null : sumOf(stats) / stats.numbers),
  min: ({ min }) => min,
  max: ({ max }) => max,
  sum: (stats) => (stats.numbers === 0 ? null : sumOf(stats)),
  count: ({ count }) => count,
  first: ({ first }) => first,
  last: ({ last }) => last,
};

/** The first part of an exact sum is the sum as a double. */
const sumOf = ({ sum }: RollupStats): number => sum[0] ?? 0;
