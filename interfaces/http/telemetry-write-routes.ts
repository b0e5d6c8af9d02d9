import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { positionToken } from '../../application/ports/event-source.ts';
import type { RetractTelemetry, SubmittedReading } from '../../application/telemetry/ingest.ts';
import { isTimestamp, readingLimits } from '../../domain/telemetry.ts';
import { hasType, MalformedLine, readBytes, readItems, Turns } from './body.ts';
import { deviceParams, registrationHeaders } from './device-schemas.ts';
import { decodeContext, takingProblems } from './form-answers.ts';
import { decodeBinaryCloudEvent } from './formats/cloudevents.ts';
import { decodePayload, type PayloadType } from './formats/payload.ts';
import {
  allRejectedProblem,
  type Intake,
  type IntakeResult,
  inOrder,
  notThisDevice,
  type RejectedReading,
  rejectedParts,
  reported,
} from './intake.ts';
import { isoTimePattern, parseIsoTime } from './iso-time.ts';
import { type HttpProblem, invalidRequest } from './problems.ts';
import { isVerbatim, oldReadingSchema, readingSchema, submittedReading } from './reading-schema.ts';
import type { Identity } from './request-context.ts';
import { type Route, route } from './route.ts';
import { metricName } from './telemetry-schemas.ts';
import { explain, text } from './validation.ts';
import { timestampFault } from './value-faults.ts';

const fault = {
  path: z.string().meta({ description: 'JSON Pointer into the body.', examples: ['/3/metrics/temp'] }),
  detail: z.string(),
};

const ingestAnswer = z
  .strictObject({
    accepted: z.int().meta({ description: 'Readings that are durable in the log.' }),
    rejected: z.int(),
    errors: z
      .array(
        z.strictObject({
          index: z.int().meta({ description: 'Place in the request, from 0; blank lines do not count.' }),
          type: z.string().meta({ description: 'The type of the problem.' }),
          ...fault,
          otherFaults: z.array(z.strictObject(fault)).optional(),
        }),
      )
      .meta({ description: 'One for each rejected reading.' }),
    positions: z
      .array(z.string())
      .meta({ description: 'Pass them as `waitFor` of a query.', examples: [['telemetry:0:42']] }),
  })
  .meta({ id: 'IngestAnswer' });

export function telemetryIngestRoute(
  intake: Intake,
  limits: { readonly bytes: number; readonly items: number },
  allowOld: boolean,
): Route {
  const schema = allowOld ? oldReadingSchema : readingSchema;
  return route({
    method: 'post',
    path: '/api/v1/telemetry',
    scope: 'telemetry:write',
    boundKeys: 'each-device',
    alsoAccepts: 'device-token',
    tag: 'Telemetry',
    summary: 'Send readings',
    description:
      'Answered once all accepted readings are durable. Each reading stands or falls by itself; when none is accepted the answer is the problem all of them have, 400 when any is invalid, or 409 when devices refuse for several reasons.',
    headers: registrationHeaders.extend({
      'idempotency-key': registrationHeaders.shape['idempotency-key'].meta({
        description:
          'A reading that is sent again with its timestamp counts once, with a key or without. With a key every reading needs a timestamp: without one each request is another moment.',
      }),
    }),
    body: {
      as: 'items',
      item: schema,
      alone: true,
      description: `One reading, or up to ${limits.items}. May be compressed: \`Content-Encoding: gzip\`.`,
      types: ['application/json', 'application/x-ndjson', ...otherForms],
    },
    responses: {
      202: {
        description: 'At least one reading was accepted.',
        content: { 'application/json': ingestAnswer },
      },
    },
    problems: takingProblems,
    async handle({ req, res, headers, context }) {
      const form = otherForms.find((type) => hasType(req, type));
      const isEvent = req.headers['ce-specversion'] !== undefined;
      if (form !== undefined || isEvent) {
        const bytes = await readBytes({ req, res }, limits.bytes);
        const decoding = decodeContext({ bytes: limits.bytes, readings: limits.items }, context);
        const decoded =
          form === undefined
            ? decodeBinaryCloudEvent(bytes, req.headers, decoding)
            : decodePayload(form, bytes, decoding);
        if (headers['idempotency-key'] !== undefined) refuseUntimedReadings(decoded.readings);
        const submission = { readings: decoded.readings, rejected: rejectedParts(decoded.rejections) };
        answer(res, await intake(submission, context), false);
        return undefined;
      }
      const { items, alone, json } = await readItems({ req, res }, limits);
      refuseOthers(items, context.identity);
      if (headers['idempotency-key'] !== undefined) refuseUntimed(items, alone);
      const readings: SubmittedReading[] = [];
      const rejected: RejectedReading[] = [];
      let verbatim = true;
      const turns = new Turns();
      for (let index = 0; index < items.length; index += 1) {
        if (index > 0 && turns.isDue(index)) await turns.rest();
        const reading = submittedReading(items[index], index, allowOld);
        if (reading) readings.push(reading);
        else rejected.push(explained(schema, items[index], index, alone, rejected.length));
        verbatim &&= reading !== undefined && isVerbatim(items[index], reading);
      }
      if (!verbatim) rejected.push(...takeColliding(readings, items, alone));
      const verbatimJson = verbatim && readings.length > 0 ? json?.() : undefined;
      answer(res, await intake({ readings, rejected, alone, json: verbatimJson }, context), alone);
      return undefined;
    },
  });
}

/** Media types of `POST /api/v1/telemetry` beside JSON and NDJSON. */
const otherForms = [
  'application/cbor',
  'application/senml+json',
  'application/senml+cbor',
  'application/sensml+json',
  'application/sensml+cbor',
  'application/cloudevents+json',
  'application/cloudevents-batch+json',
] as const satisfies readonly PayloadType[];

function answer(res: ServerResponse, taken: IntakeResult, alone: boolean): void {
  if (taken.accepted === 0) throw allRejectedProblem(taken.rejected, alone);
  res.statusCode = 202;
  res.setHeader('Content-Type', 'application/json');
  res.end(responseText(taken));
}

function refuseUntimedReadings(readings: readonly SubmittedReading[]): void {
  const untimed = readings.find(({ timestamp }) => timestamp === undefined);
  if (untimed) throw untimedProblem(`/${untimed.index}`);
}

const untimedProblem = (path: string): HttpProblem =>
  invalidRequest([{ in: 'body', path, detail: 'is needed in every reading sent with an Idempotency-Key' }]);

/** A device token speaks for one device: what names another is refused with all beside it, well-formed or not. */
function refuseOthers(items: readonly unknown[], identity: Identity): void {
  if (identity.is !== 'device') return;
  for (const [index, item] of items.entries()) {
    const { deviceId } = (item ?? {}) as { readonly deviceId?: unknown };
    if (typeof deviceId !== 'string' || deviceId === identity.deviceId) continue;
    throw notThisDevice(identity.deviceId, deviceId, index);
  }
}

/** The digits of a time below the millisecond, without zeros at their end. */
const belowMillisecond = /\.\d{3}(\d*[1-9])/;

/** Takes out readings whose time differs from another's of their device below the millisecond only, where it is cut off. */
function takeColliding(
  readings: SubmittedReading[],
  items: readonly unknown[],
  alone: boolean,
): readonly RejectedReading[] {
  const restOf = ({ index }: SubmittedReading): string => {
    const { timestamp } = items[index] as { readonly timestamp?: unknown };
    return (typeof timestamp === 'string' && belowMillisecond.exec(timestamp)?.[1]) || '';
  };
  if (!readings.some(restOf)) return [];
  const seen = new Map<string, string>();
  const rejected: RejectedReading[] = [];
  const kept = readings.filter((reading) => {
    const key = `${reading.deviceId} ${reading.timestamp}`;
    const rest = restOf(reading);
    const before = seen.get(key);
    if (before === undefined) seen.set(key, rest);
    if (before === undefined || before === rest || reading.timestamp === undefined) return true;
    const { index } = reading;
    const path = alone ? '/timestamp' : `/${index}/timestamp`;
    const detail =
      'is within one millisecond of another reading of this device: times are kept to the millisecond';
    rejected.push({ index, kind: 'invalid-request', path, detail });
    return false;
  });
  readings.splice(0, readings.length, ...kept);
  return rejected;
}

/** Each repeat of a reading without a timestamp would be another point, which a key is to prevent. */
function refuseUntimed(items: readonly unknown[], alone: boolean): void {
  const index = items.findIndex(
    (item) =>
      typeof item === 'object' && item !== null && !(item instanceof MalformedLine) && !('timestamp' in item),
  );
  if (index === -1) return;
  const path = alone ? '/timestamp' : `/${index}/timestamp`;
  throw untimedProblem(path);
}

/** `rejected` is empty most of the time, and the rest is two numbers and text that needs no escapes. */
function responseText({ accepted, positions, rejected }: IntakeResult): string {
  const errors = rejected.length === 0 ? '[]' : JSON.stringify(inOrder(rejected).map(reported));
  const tokens = positions.map((position) => `"${positionToken('telemetry', position)}"`);
  return `{"accepted":${accepted},"rejected":${rejected.length},"errors":${errors},"positions":[${tokens}]}`;
}

/** Further faults are left out of those behind the first hundred: nobody reads them, and they cost more than all else. */
function explained(
  schema: z.ZodType,
  value: unknown,
  index: number,
  alone: boolean,
  before: number,
): RejectedReading {
  const at = alone ? [] : [index];
  if (value instanceof MalformedLine)
    return { index, kind: 'malformed-json', path: `/${index}`, detail: value.detail };
  const [first, ...others] = explain(schema, value, at);
  if (!first) throw new Error('A reading was refused that its schema allows');
  const otherFaults = others.slice(0, before < 100 ? 9 : 0).map(({ path, detail }) => ({ path, detail }));
  const { path, detail } = first;
  return { index, kind: 'invalid-request', path, detail, ...(otherFaults.length > 0 && { otherFaults }) };
}

/** As in a reading: a number of milliseconds or a text. A range may well begin in 1970. */
const time = z
  .unknown()
  .transform((given, context) => {
    const at = typeof given === 'string' ? parseIsoTime(given) : given;
    if (isTimestamp(at)) return at;
    const message = timestampFault(given, true);
    context.addIssue({ code: 'custom', message: message ?? 'must be a time', input: given });
    return z.NEVER;
  })
  .meta({
    anyOf: [
      { type: 'string', pattern: `^${isoTimePattern}$` },
      { type: 'integer', minimum: readingLimits.earliest, maximum: readingLimits.latest },
    ],
  });

const retraction = z
  .strictObject({
    metric: metricName.optional().meta({ description: 'Every metric when absent.' }),
    from: time.meta({ description: 'Inclusive, the time of the device.' }),
    to: time.meta({ description: 'Exclusive.' }),
    reason: text(500).meta({
      description: 'The reason, stored in the log.',
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
    summary: 'Retract the readings of a device in a time range',
    description:
      'Points, newest values and rollups follow. The readings stay in the log: `asRecordedAt` queries them as they were.',
    params: deviceParams,
    body: { as: 'json', schema: retraction },
    responses: {
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
