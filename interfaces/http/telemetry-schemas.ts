import { z } from 'zod';
import type { TimeZone } from '../../application/ports/calendar.ts';
import type { Point } from '../../application/ports/queries.ts';
import type { Bucket } from '../../application/telemetry/buckets.ts';
import { type Aggregate, aggregateOf, aggregates } from '../../domain/rollup.ts';
import { isMetricName, metricNameForm, readingLimits } from '../../domain/telemetry.ts';
import { consistencyHeaders } from './consistency.ts';
import { cursorParameter, next } from './cursor.ts';
import { isoTimes, zonedIsoTimes } from './iso-time.ts';
import type { ResponseSpec } from './route.ts';
import { csvValue, jsonValue, type RowShape } from './row-stream.ts';
import { deviceId, integer, list, single, time } from './validation.ts';

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

export const rowsAnswer = (description: string, json: z.ZodType): ResponseSpec => ({
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

export const metricError =
  'must be a metric name: letters, digits and _ . : / - , not starting with : or - , at most 128';
export const metricName = z
  .string({ error: metricError })
  .refine(isMetricName, { error: metricError })
  .meta({ pattern: metricNameForm.source, maxLength: readingLimits.nameLength });

export const metricParameter = list(metricName, 'must be at most 100 metrics')
  .optional()
  .meta({ description: 'These metrics only: repeated, or with commas. All when absent.' });

const intervalError = 'must be an interval such as 15m, 1h, 1d, 1w, 1mo or 1y';
const tzError = 'must be a time zone such as Europe/Berlin';
const aggregateError = `must be of ${aggregates.join(', ')}`;

const divisors = (whole: number): string =>
  Array.from({ length: whole }, (_, i) => i + 1)
    .filter((part) => whole % part === 0)
    .join('|');

export const aggregateParameter = list(z.enum(aggregates, { error: aggregateError }), aggregateError)
  .optional()
  .meta({ description: 'What of each bucket: repeated, or with commas. avg,min,max,sum,count when absent.' });

const range = {
  from: time.optional().meta({ description: 'Inclusive: ISO 8601 with its offset, or epoch milliseconds.' }),
  to: time.optional().meta({ description: 'Exclusive: ISO 8601 with its offset, or epoch milliseconds.' }),
};

export const seriesParameters = {
  metric: metricParameter,
  ...range,
  order: z
    .enum(['asc', 'desc'], { error: 'must be asc or desc' })
    .default('asc')
    .meta({ description: 'By time.' }),
  limit: integer(1, 10_000_000).default(1000).meta({ description: 'Rows at most; 1000 when absent.' }),
  cursor: cursorParameter,
  interval: single(intervalError)
    .optional()
    .meta({
      pattern: `^(?:(?:${divisors(1440)})m|(?:${divisors(24)})h|(?:${divisors(12)})mo|[1-9][0-9]{0,3}[dwy])$`,
      description:
        'Answer with buckets of this length, aligned to the calendar of `tz`: a number and m, h, d, w, mo or y.',
      examples: ['15m', '1d'],
    }),
  tz: single(tzError)
    .optional()
    .meta({ description: 'IANA time zone of the buckets; UTC when absent.', examples: ['Europe/Berlin'] }),
  aggregate: aggregateParameter,
} as const;

export const recordedAtParameter = {
  asRecordedAt: time.optional().meta({
    description:
      'The points as they stood when everything taken up to this time was recorded: before later corrections and retractions. Reads the whole log.',
  }),
};

type Series = {
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly interval?: string | undefined;
  readonly tz?: string | undefined;
  readonly aggregate?: readonly string[] | undefined;
  readonly asRecordedAt?: number | undefined;
};

/** Checks across several parameters. */
export function checkSeries(series: Series, context: z.core.$RefinementCtx): void {
  const { from, to, interval, asRecordedAt } = series;
  if (from !== undefined && to !== undefined && to <= from)
    context.addIssue({ code: 'custom', path: ['to'], message: 'must be later than from', input: to });
  if (interval !== undefined && asRecordedAt !== undefined)
    context.addIssue({
      code: 'custom',
      path: ['asRecordedAt'],
      message: 'is for points: leave interval out',
      input: asRecordedAt,
    });
  for (const name of ['tz', 'aggregate'] as const)
    if (interval === undefined && series[name] !== undefined)
      context.addIssue({ code: 'custom', path: [name], message: 'needs an interval', input: series[name] });
}

export const devicePageParameters = {
  limit: integer(1, 1000).default(100).meta({ description: 'Devices at most; 100 when absent.' }),
  cursor: cursorParameter,
};
