import { z } from 'zod';
import type { SubmittedReading } from '../../application/telemetry/ingest.ts';
import { isDeviceId, isMetrics, isTimestamp, readingLimits } from '../../domain/telemetry.ts';
import { isoTimeForm, parseIsoTime } from './iso-time.ts';
import { metricError, metricName } from './telemetry-schemas.ts';
import { deviceId, nameMap } from './validation.ts';

const timestampError = `must be ISO 8601, ${isoTimeForm}, or whole epoch milliseconds, of the years 0001 to 9999`;
const valueError = `must be a number of at most ${readingLimits.magnitude} either way, true, false, or well-formed text of up to ${readingLimits.textLength} characters`;
const metricsError = `must have 1 to ${readingLimits.metrics} metrics`;

const value = z.union(
  [
    z.number().min(-readingLimits.magnitude).max(readingLimits.magnitude),
    z.boolean(),
    z
      .string()
      .max(readingLimits.textLength)
      .refine((text) => text.isWellFormed()),
  ],
  { error: valueError },
);

/** A reading as it is sent: the documentation of the hot path, and its explanation when something is wrong. */
export const readingSchema = z
  .strictObject({
    deviceId: deviceId.meta({ description: 'A registered, active device.' }),
    timestamp: z
      .union(
        [
          z
            .string()
            .refine((text) => parseIsoTime(text) !== undefined)
            .meta({ format: 'date-time' }),
          z.int().min(readingLimits.earliest).max(readingLimits.latest),
        ],
        { error: timestampError },
      )
      .optional()
      .meta({
        description:
          'When it was measured, by the device: ISO 8601 with Z or ±hh:mm, kept to the millisecond, or epoch milliseconds. The time of arrival when absent.',
        examples: ['2026-03-29T01:00:00Z', 1774746000000],
      }),
    metrics: nameMap(metricName, value, {
      most: readingLimits.metrics,
      keyError: metricError,
      countError: metricsError,
    })
      .refine((map) => Object.keys(map).length > 0, { error: metricsError })
      .meta({
        description: '1 to 64 values by metric name, in units of your own.',
        examples: [{ temperature: 20.5, unit: 'C', heating: true }],
        minProperties: 1,
        maxProperties: readingLimits.metrics,
      }),
  })
  .meta({ id: 'Reading' });

/**
 * The same check by hand for the hot path, fifteen times as fast; a property test holds it to the schema.
 * `undefined` for anything the schema does not allow.
 */
export function submittedReading(value: unknown, index: number): SubmittedReading | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  let timestamp: number | undefined;
  for (const name in value) {
    if (name === 'deviceId' || name === 'metrics') continue;
    if (name !== 'timestamp') return undefined;
    timestamp = timestampOf((value as { timestamp: unknown }).timestamp);
    if (timestamp === undefined) return undefined;
  }
  const { deviceId, metrics } = value as { deviceId?: unknown; metrics?: unknown };
  return isDeviceId(deviceId) && isMetrics(metrics) ? { index, deviceId, timestamp, metrics } : undefined;
}

/** Whether what was sent is what is stored: a time in another form is not, nor one that the arrival gives. */
export const isVerbatim = (sent: unknown, { timestamp }: SubmittedReading): boolean =>
  timestamp !== undefined && (sent as { timestamp: unknown }).timestamp === timestamp;

function timestampOf(value: unknown): number | undefined {
  if (typeof value === 'string') return parseIsoTime(value);
  return isTimestamp(value) ? value : undefined;
}
