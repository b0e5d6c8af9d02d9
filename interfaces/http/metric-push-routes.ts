import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { hasType, readBytes } from './body.ts';
import {
  decodeContext,
  type FormLimits,
  takenHeaders,
  takenHeadersSpec,
  takingProblems,
} from './form-answers.ts';
import { decodeOtlpJson, decodeOtlpProtobuf } from './formats/otlp-metrics.ts';
import { otlpResponse, rpcStatus } from './formats/otlp-protobuf.ts';
import { decodeRemoteWrite } from './formats/remote-write.ts';
import { allRejectedProblem, type Intake, type RejectedReading, rejectedParts } from './intake.ts';
import { HttpProblem, problemKinds, problemOf } from './problems.ts';
import type { RequestContext } from './request-context.ts';
import { type Route, route } from './route.ts';

const otlpTypes = ['application/x-protobuf', 'application/json'];

const common = {
  method: 'post',
  scope: 'telemetry:write',
  boundKeys: 'each-device',
  alsoAccepts: 'device-token',
  alsoShownAs: ['basic-password'],
  tag: 'Telemetry',
} as const;

type Exchanged = {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly context: RequestContext;
};

const partialSuccess = z.strictObject({
  partialSuccess: z.strictObject({ rejectedDataPoints: z.string(), errorMessage: z.string() }).optional(),
});

/** `google.rpc.Status`, whose codes are those of gRPC. */
const status = z.strictObject({ code: z.int(), message: z.string() });
const invalidArgument = 3;

/** Metrics of OpenTelemetry over HTTP. What is rejected is in a partial success: the sender must not send it again. */
export const otlpRoute = (intake: Intake, limits: FormLimits): Route =>
  route({
    ...common,
    path: '/v1/metrics',
    summary: 'Send metrics as OTLP',
    description:
      'Gauges, sums and histograms of the device that the resource names as `device.id`, else `service.instance.id`, else `host.name`. 200 with a partial success where some or all data points were rejected.',
    body: {
      as: 'bytes',
      description: 'An `ExportMetricsServiceRequest`; `Content-Encoding: gzip` is taken.',
      types: otlpTypes,
    },
    responses: {
      200: {
        description: 'What was accepted is durable.',
        content: { 'application/json': partialSuccess, 'application/x-protobuf': z.string() },
      },
      400: {
        description: 'It is no such request; a `google.rpc.Status`.',
        content: { 'application/json': status, 'application/x-protobuf': z.string() },
      },
    },
    problems: ['not-this-device', 'too-many-items'],
    async handle(exchange) {
      const isProtobuf = hasType(exchange.req, 'application/x-protobuf');
      if (!isProtobuf && !hasType(exchange.req, 'application/json')) throw wrongType(otlpTypes);
      try {
        answerOtlp(exchange.res, isProtobuf, await takeOtlp(exchange, isProtobuf, intake, limits));
      } catch (error) {
        const problem = problemOf(error);
        if (problemKinds[problem.kind].status !== 400) throw error;
        sendForm(exchange.res, 400, isProtobuf, rpcStatus(invalidArgument, problem.message), {
          code: invalidArgument,
          message: problem.message,
        });
      }
      return undefined;
    },
  });

async function takeOtlp(
  { req, res, context }: Exchanged,
  isProtobuf: boolean,
  intake: Intake,
  limits: FormLimits,
): Promise<readonly RejectedReading[]> {
  const bytes = await readBytes({ req, res }, limits.bytes);
  const decode = isProtobuf ? decodeOtlpProtobuf : decodeOtlpJson;
  const { readings, rejections } = decode(bytes, decodeContext(limits, context));
  return (await intake({ readings, rejected: rejectedParts(rejections) }, context)).rejected;
}

function answerOtlp(res: ServerResponse, isProtobuf: boolean, rejected: readonly RejectedReading[]): void {
  const [first] = rejected;
  const errorMessage = first ? `the first: ${first.path}: ${first.detail}` : '';
  const partial = { rejectedDataPoints: String(rejected.length), errorMessage };
  sendForm(
    res,
    200,
    isProtobuf,
    otlpResponse(rejected.length, errorMessage),
    first ? { partialSuccess: partial } : {},
  );
}

/** In the form of the request. */
function sendForm(res: ServerResponse, code: number, isProtobuf: boolean, bytes: Buffer, json: object): void {
  res.statusCode = code;
  res.setHeader('Content-Type', isProtobuf ? 'application/x-protobuf' : 'application/json');
  res.end(isProtobuf ? bytes : JSON.stringify(json));
}

const wrongType = (types: readonly string[]): HttpProblem =>
  new HttpProblem('unsupported-media-type', `Content-Type must be ${types.join(' or ')}`, {
    headers: { Accept: types.join(', ') },
  });

/** Prometheus remote write 1.0. Senders of 2.0 fall back to it after the 415. */
export const remoteWriteRoute = (intake: Intake, limits: FormLimits): Route =>
  route({
    ...common,
    path: '/api/v1/prometheus/write',
    summary: 'Send samples as Prometheus remote write 1.0',
    description:
      'The device is the label `device`, else `instance`. As the specification has it, 400 when a sample is rejected though the others are stored.',
    body: {
      as: 'bytes',
      description: 'A `prometheus.WriteRequest` as a block of snappy.',
      types: ['application/x-protobuf'],
    },
    responses: {
      204: { description: 'All samples are durable.', headers: takenHeadersSpec },
    },
    problems: [...takingProblems, 'samples-rejected'],
    async handle({ req, res, context }) {
      const sent = req.headers['content-type'] ?? '';
      const isTwo = /proto=io\.prometheus\.write\.v2/.test(sent);
      if (!hasType(req, 'application/x-protobuf') || isTwo)
        throw wrongType(['application/x-protobuf;proto=prometheus.WriteRequest']);
      const coding = req.headers['content-encoding'];
      if (coding !== undefined && coding !== 'snappy')
        throw new HttpProblem('unsupported-media-type', 'Content-Encoding must be snappy', {
          headers: { 'Accept-Encoding': 'snappy' },
        });
      const bytes = await readBytes({ req, res }, limits.bytes, 'snappy');
      const { readings, rejections } = decodeRemoteWrite(bytes, decodeContext(limits, context), limits.bytes);
      if (readings.length === 0 && rejections.length === 0)
        return { status: 204, headers: takenHeaders(0, 0) };
      const taken = await intake({ readings, rejected: rejectedParts(rejections) }, context);
      const headers = takenHeaders(taken.accepted, taken.rejected.length);
      if (taken.rejected.length === 0) return { status: 204, headers };
      const { kind, message, extras } = allRejectedProblem(taken.rejected, false);
      if (taken.accepted === 0) throw new HttpProblem(kind, message, extras);
      const detail = message.replace(
        'No reading was accepted',
        `${taken.accepted} readings are stored, some were rejected`,
      );
      const members = { ...extras.members, accepted: taken.accepted };
      throw new HttpProblem('samples-rejected', detail, { members, headers });
    },
  });
