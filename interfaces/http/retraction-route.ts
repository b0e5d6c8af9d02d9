import { z } from 'zod';
import { positionToken } from '../../application/ports/event-source.ts';
import type { RetractTelemetry } from '../../application/telemetry/ingest.ts';
import { isTimestamp } from '../../domain/telemetry.ts';
import { deviceParams } from './device-schemas.ts';
import { isoTimeForm, parseIsoTime } from './iso-time.ts';
import { type Route, route } from './route.ts';
import { metricName } from './telemetry-parameters.ts';
import { text } from './text-schemas.ts';

const timeError = `must be epoch milliseconds as a number, or ISO 8601: ${isoTimeForm}`;

/** As in a reading: a number of milliseconds or a text. */
const time = z.union([z.number(), z.string()], { error: timeError }).transform((given, context) => {
  const at = typeof given === 'number' ? given : parseIsoTime(given);
  if (isTimestamp(at)) return at;
  context.addIssue({ code: 'custom', message: timeError, input: given });
  return z.NEVER;
});

const retraction = z
  .strictObject({
    metric: metricName.optional().meta({ description: 'Every metric when absent.' }),
    from: time.meta({ description: 'Inclusive, the time of the device.' }),
    to: time.meta({ description: 'Exclusive.' }),
    reason: text(500).meta({
      description: 'Why, for those who read the log.',
      examples: ['Sensor in the sun'],
    }),
  })
  .refine(({ from, to }) => to > from, { path: ['to'], error: 'must be later than from' });

export const retractionRoute = (retract: RetractTelemetry): Route =>
  route({
    method: 'post',
    path: '/api/v1/devices/:deviceId/telemetry/retractions',
    scope: 'operate',
    tag: 'Telemetry',
    summary: 'Take back what a device said of a time range',
    description:
      'Points, newest values and rollups follow. The readings stay in the log: `asRecordedAt` queries them as they were.',
    params: deviceParams,
    body: { as: 'json', schema: retraction },
    answers: {
      202: {
        description: 'It is in the log; the read models follow.',
        content: {
          'application/json': z.strictObject({
            positions: z.array(z.string()).meta({ description: 'For `waitFor` of queries.' }),
          }),
        },
      },
    },
    problems: ['device-not-registered'],
    async handle({ params: { deviceId }, body: { metric, ...range }, context }) {
      const taken = { deviceId, ...range, ...(metric !== undefined && { metric }) };
      const positions = await retract(taken, context.caller);
      return { status: 202, json: { positions: positions.map((at) => positionToken('telemetry', at)) } };
    },
  });
