import { z } from 'zod';
import type { SubmittedReading } from '../../application/telemetry/ingest.ts';
import {
  isDeviceId,
  isMetricName,
  isMetrics,
  isTimestamp,
  type Metrics,
  readingLimits,
} from '../../domain/telemetry.ts';
import { isoTimePattern, parseIsoTime } from './iso-time.ts';
import { metricError, metricName } from './telemetry-schemas.ts';
import { deviceId, nameMap } from './validation.ts';
import { isOfSeconds, metricValueFault, secondsRange, timestampFault } from './value-faults.ts';

const metricsError = `must have 1 to ${readingLimits.metrics} metrics`;
const noValueError = 'must have a metric whose value is not null';

/** A union would report only that none of its members fits; what is sent is documented by `meta` instead. */
const checkedBy = (faultOf: (given: unknown) => string | undefined) =>
  z.unknown().superRefine((given, context) => {
    const message = faultOf(given);
    if (message !== undefined) context.addIssue({ code: 'custom', message, input: given });
  });

const value = checkedBy((given) => (given === null ? undefined : metricValueFault(given))).meta({
  anyOf: [
    { type: 'number', minimum: -readingLimits.magnitude, maximum: readingLimits.magnitude },
    { type: 'boolean' },
    { type: 'string', maxLength: readingLimits.textLength },
    { type: 'null', description: 'The same as leaving the metric out.' },
  ],
});

const metrics = nameMap(metricName, value, {
  most: readingLimits.metrics,
  keyError: metricError,
  countError: metricsError,
})
  .superRefine((map, context) => {
    const values = Object.values(map);
    if (values.length > 0 && values.some((value) => value !== null)) return;
    const message = values.length === 0 ? metricsError : noValueError;
    context.addIssue({ code: 'custom', message, input: map });
  })
  .meta({
    description: '1 to 64 values by metric name, in units of your own. One that is null is left out.',
    examples: [{ temperature: 20.5, unit: 'C', heating: true }],
    minProperties: 1,
    not: { additionalProperties: { type: 'null' } },
    maxProperties: readingLimits.metrics,
  });

/** A reading as it is sent: the documentation of the hot path, and its explanation when something is wrong. */
const readingSchemaFor = (allowOld: boolean) =>
  z
    .strictObject({
      deviceId: deviceId.meta({ description: 'A registered, active device.' }),
      timestamp: checkedBy((given) => timestampFault(given, allowOld))
        .optional()
        .meta({
          description:
            'When it was measured, by the device: ISO 8601 with Z or ±hh:mm, kept to the millisecond, or epoch milliseconds. The time of arrival when absent. Numbers that look like epoch seconds are refused unless ALLOW_OLD is set.',
          examples: ['2026-03-29T01:00:00Z', 1774746000000],
          anyOf: [{ type: 'string', pattern: `^${isoTimePattern}$` }, ...timestampRanges(allowOld)],
        }),
      metrics,
    })
    .meta({ id: 'Reading' });

const timestampRanges = (allowOld: boolean) =>
  (allowOld
    ? [[readingLimits.earliest, readingLimits.latest]]
    : [
        [readingLimits.earliest, secondsRange.from - 1],
        [secondsRange.to, readingLimits.latest],
      ]
  ).map(([minimum, maximum]) => ({ type: 'integer', minimum, maximum }));

export const readingSchema = readingSchemaFor(false);
/** Takes numbers that look like epoch seconds for the milliseconds they may be. */
export const oldReadingSchema = readingSchemaFor(true);

/**
 * The same check written out for the hot path, fifteen times as fast; a property test holds it to the schema.
 * `undefined` for anything the schema does not allow.
 */
export function submittedReading(
  value: unknown,
  index: number,
  allowOld = false,
): SubmittedReading | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  let timestamp: number | undefined;
  for (const name in value) {
    if (name === 'deviceId' || name === 'metrics') continue;
    if (name !== 'timestamp') return undefined;
    timestamp = timestampOf((value as { timestamp: unknown }).timestamp, allowOld);
    if (timestamp === undefined) return undefined;
  }
  const { deviceId, metrics: sent } = value as { deviceId?: unknown; metrics?: unknown };
  if (!isDeviceId(deviceId)) return undefined;
  const metrics = isMetrics(sent) ? sent : withoutNulls(sent);
  return metrics && { index, deviceId, timestamp, metrics };
}

/** A null metric is an absent one; `undefined` unless what is left are metrics. */
function withoutNulls(sent: unknown): Metrics | undefined {
  if (typeof sent !== 'object' || sent === null || Array.isArray(sent)) return undefined;
  const entries = Object.entries(sent);
  if (entries.length > readingLimits.metrics || !entries.every(([name]) => isMetricName(name)))
    return undefined;
  const present = Object.fromEntries(entries.filter(([, value]) => value !== null));
  return isMetrics(present) ? present : undefined;
}

/**
 * Whether what was sent is what is stored: a time in another form is not, nor one that the arrival gives, nor a metric
 * that is null.
 */
export const isVerbatim = (sent: unknown, { timestamp, metrics }: SubmittedReading): boolean =>
  timestamp !== undefined &&
  (sent as { timestamp: unknown }).timestamp === timestamp &&
  (sent as { metrics: unknown }).metrics === metrics;

function timestampOf(value: unknown, allowOld: boolean): number | undefined {
  if (typeof value === 'string') return parseIsoTime(value);
  return isTimestamp(value) && (allowOld || !isOfSeconds(value)) ? value : undefined;
}
