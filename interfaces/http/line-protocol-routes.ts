import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import type { Log } from '../../application/ports/system.ts';
import { readBytes } from './body.ts';
import {
  decodeContext,
  type FormLimits,
  takenHeaders,
  takenHeadersSpec,
  takingProblems,
} from './form-answers.ts';
import { decodeLines, type LinePrecision, linePrecisions } from './formats/line-protocol.ts';
import { allRejectedProblem, type Intake, rejectedParts } from './intake.ts';
import { HttpProblem, problemKinds, problemOf } from './problems.ts';
import type { RequestContext } from './request-context.ts';
import { type Route, route } from './route.ts';

const version = { 'X-Influxdb-Version': 'v1.8.10-fieldlog', 'X-Influxdb-Build': 'OSS' };

const writeQuery = z.object({
  precision: z.enum(linePrecisions).optional().meta({ description: 'Unit of the times; ns when absent.' }),
  deviceTag: z
    .string()
    .min(1)
    .max(128)
    .optional()
    .meta({ description: 'The tag that names the device; `device`, or else `host`, when absent.' }),
  org: z.string().optional().meta({ description: 'Not looked at.' }),
  orgID: z.string().optional().meta({ description: 'Not looked at.' }),
  bucket: z.string().optional().meta({ description: 'Not looked at.' }),
  db: z.string().optional().meta({ description: 'Not looked at.' }),
  rp: z.string().optional().meta({ description: 'Not looked at.' }),
  consistency: z.string().optional().meta({ description: 'Not looked at.' }),
  u: z.string().optional().meta({ description: 'Not looked at.' }),
  p: z.string().optional().meta({ description: 'An API key or device token.' }),
});

const common = {
  scope: 'telemetry:write',
  boundKeys: 'each-device',
  alsoAccepts: 'device-token',
  alsoShownAs: ['token-scheme', 'basic-password', 'query-p'],
  tag: 'Telemetry',
} as const;

/** What clients of InfluxDB write to, in its versions 1 and 2, and what they ask beside it. */
export function lineProtocolRoutes(intake: Intake, limits: FormLimits, log: Log): readonly Route[] {
  return [writeRoute('/api/v2/write'), writeRoute('/write'), queryRoute, pingRoute, healthRoute];

  function writeRoute(path: string): Route {
    return route({
      ...common,
      method: 'post',
      path,
      summary: 'Write line protocol, as to InfluxDB',
      description:
        'The metric is `measurement.field`, and behind it the values of the other tags in order of their names. 204 when anything was accepted: what was rejected is counted in `Fieldlog-Rejected` and logged.',
      query: writeQuery,
      body: {
        as: 'bytes',
        description: 'Lines of `measurement,tag=value field=value time`; `Content-Encoding: gzip` is taken.',
        types: ['text/plain', 'application/octet-stream'],
        optional: true,
      },
      responses: { 204: { description: 'All or some lines are durable.', headers: takenHeadersSpec } },
      problems: [...takingProblems, 'lines-refused'],
      handle: ({ req, res, query, context }) =>
        write({ req, res, context }, query.precision ?? 'ns', query.deviceTag).catch(asInflux),
    });
  }

  async function write(
    { req, res, context }: { req: IncomingMessage; res: ServerResponse; context: RequestContext },
    precision: LinePrecision,
    deviceTag: string | undefined,
  ) {
    const bytes = await readBytes({ req, res }, limits.bytes);
    const decoded = decodeLines(bytes, decodeContext(limits, context), { precision, deviceTag });
    const { readings, rejections, collapsed } = decoded;
    if (readings.length === 0 && rejections.length === 0) return { status: 204, headers: takenHeaders(0, 0) };
    const taken = await intake({ readings, rejected: rejectedParts(rejections) }, context);
    if (taken.accepted === 0) throw linesRefused(allRejectedProblem(taken.rejected, false));
    const { correlationId } = context.caller;
    const fields = { correlationId, accepted: taken.accepted, rejected: taken.rejected.length, collapsed };
    if (taken.rejected.length > 0) log.warn({ ...fields, first: taken.rejected[0] }, 'lines partly rejected');
    return { status: 204, headers: takenHeaders(taken.accepted, taken.rejected.length, collapsed) };
  }
}

/** Of lines, 400 says that the first was none and the rest were not looked at; 422 that their content was refused. */
const linesRefused = ({ message, extras }: HttpProblem): HttpProblem =>
  new HttpProblem('lines-refused', message, extras);

const codes: Readonly<Record<number, string>> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not found',
  413: 'request too large',
  422: 'unprocessable entity',
  429: 'too many requests',
  503: 'unavailable',
};

/** With the members by which clients of InfluxDB say what is wrong. */
function asInflux(error: unknown): never {
  const problem = problemOf(error);
  if (problem.kind === 'internal-error') throw error;
  const { message, extras } = problem;
  const members = {
    ...extras.members,
    code: codes[problemKinds[problem.kind].status] ?? 'internal error',
    message,
    error: message,
  };
  throw new HttpProblem(problem.kind, message, { ...extras, members });
}

const queryRoute: Route = route({
  ...common,
  method: 'post',
  path: '/query',
  summary: 'Answer `CREATE DATABASE`, as InfluxDB 1 does',
  description: 'Telegraf sends it before it writes. Nothing is made, and no other query is answered here.',
  query: z.object({
    q: z.string().optional().meta({ description: 'The statement.' }),
    db: z.string().optional().meta({ description: 'Not looked at.' }),
    u: z.string().optional().meta({ description: 'Not looked at.' }),
    p: z.string().optional().meta({ description: 'The key.' }),
  }),
  responses: {
    200: {
      description: 'It is as if it had been made.',
      content: {
        'application/json': z.strictObject({ results: z.array(z.strictObject({ statement_id: z.int() })) }),
      },
    },
  },
  problems: ['invalid-request'],
  async handle({ req, res, query }) {
    const sent =
      query.q ?? new URLSearchParams((await readBytes({ req, res }, 65_536)).toString()).get('q') ?? '';
    if (!/^\s*create\s+database\b/i.test(sent))
      throw new HttpProblem(
        'invalid-request',
        'Only CREATE DATABASE is answered here; query by GET /api/v1/telemetry',
        {
          members: { errors: [{ in: 'query', path: '/q', detail: 'must be CREATE DATABASE "name"' }] },
        },
      );
    return { status: 200, headers: version, json: { results: [{ statement_id: 0 }] } };
  },
});

const pingRoute: Route = route({
  method: 'get',
  path: '/ping',
  scope: 'public',
  tag: 'Telemetry',
  summary: 'Say that line protocol is taken here',
  query: z.object({ verbose: z.string().optional().meta({ description: 'Not looked at.' }) }),
  responses: { 204: { description: 'It is.', headers: { 'X-Influxdb-Version': 'What clients look for.' } } },
  handle: async () => ({ status: 204, headers: version }),
});

const healthRoute: Route = route({
  method: 'get',
  path: '/health',
  scope: 'public',
  tag: 'Telemetry',
  summary: 'Say that line protocol is taken here, as InfluxDB 2 does',
  description: 'Readiness is at `/health/ready`.',
  responses: {
    200: {
      description: 'It is.',
      content: {
        'application/json': z.strictObject({ name: z.string(), status: z.string(), message: z.string() }),
      },
    },
  },
  handle: async () => ({
    status: 200,
    json: { name: 'fieldlog', status: 'pass', message: 'ready for writes' },
  }),
});
