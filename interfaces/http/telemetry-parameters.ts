import { z } from 'zod';
import { isMetricName, metricNameForm, readingLimits } from '../../domain/telemetry.ts';
import { cursorParameter } from './cursor.ts';
import { integer, list, single, time } from './query-parameters.ts';
import { aggregates } from './telemetry-shapes.ts';

export const metricError =
  'must be a metric name: letters, digits and _ . : / - , starting with a letter or _ , at most 128';
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
      description:
        'Answer with buckets of this length, aligned to the calendar of `tz`: a number and m, h, d, w, mo or y.',
      examples: ['15m', '1d'],
    }),
  tz: single(tzError)
    .optional()
    .meta({ description: 'IANA time zone of the buckets; UTC when absent.', examples: ['Europe/Berlin'] }),
  aggregate: list(z.enum(aggregates, { error: aggregateError }), aggregateError)
    .optional()
    .meta({
      description: 'What of each bucket: repeated, or with commas. avg,min,max,sum,count when absent.',
    }),
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

/** What no parameter can tell by itself. */
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
