import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { readBytes } from './body.ts';
import {
  decodeContext,
  type FormLimits,
  takenHeaders,
  takenHeadersSpec,
  takingProblems,
} from './form-answers.ts';
import { decodePayload, guessedType, payloadType, payloadTypes } from './formats/payload.ts';
import type { Decoded } from './formats/reading-set.ts';
import { decodeThingsBoard } from './formats/thingsboard.ts';
import { allRejectedProblem, type Intake, rejectedParts } from './intake.ts';
import { HttpProblem, invalidRequest } from './problems.ts';
import type { RequestContext } from './request-context.ts';
import { type Route, route } from './route.ts';
import { deviceId } from './validation.ts';

const common = {
  scope: 'telemetry:write',
  boundKeys: 'each-device',
  alsoAccepts: 'device-token',
  tag: 'Telemetry',
} as const;

type Exchanged = {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly context: RequestContext;
};

const accepted = (code: 200 | 202) => ({
  [code]: { description: 'All or some readings are durable.', headers: takenHeadersSpec, takingProblems },
});

/** ThingsBoard's and Hono's addresses for devices and gateways. */
export function devicePushRoutes(intake: Intake, limits: FormLimits): readonly Route[] {
  const thingsBoard = route({
    ...common,
    alsoShownAs: ['path-token'],
    method: 'post',
    path: '/api/v1/:deviceToken/telemetry',
    summary: "Send a device's values, as to ThingsBoard",
    description: 'The token in the path is never logged. Nested values become `a.b`.',
    params: z.strictObject({ deviceToken: z.string().meta({ description: 'The token of the device.' }) }),
    body: {
      as: 'bytes',
      description: 'Values by name, `{"ts":ms,"values":{…}}`, or an array of either.',
      types: ['application/json'],
    },
    responses: accepted(200),
    problems: takingProblems,
    async handle({ req, res, context }) {
      if (context.identity.is === 'key')
        throw invalidRequest([{ in: 'path', path: '/deviceToken', detail: 'must be the token of a device' }]);
      if (context.identity.is !== 'device')
        throw new HttpProblem('key-required', 'The path must have the token of a device');
      const bytes = await readBytes({ req, res }, limits.bytes);
      return take(decodeThingsBoard(bytes, decodeContext(limits, context)), context, 200);
    },
  });

  const hono = (method: 'post' | 'put', path: string, params: z.ZodObject | undefined, summary: string) =>
    route({
      ...common,
      ...(!params && { operationId: 'postHonoTelemetry' }),
      alsoShownAs: ['basic-password'],
      method,
      path,
      summary,
      description: '202 means durable, whatever `qos-level` asks for. The tenant is not looked at.',
      ...(params && { params }),
      body: {
        as: 'bytes',
        description: 'A payload of the media type; without one its first byte says what it is.',
        types: payloadTypes,
      },
      responses: accepted(202),
      problems: takingProblems,
      handle: ({ req, res, context, params: { device } }) =>
        takePayload({ req, res, context }, (device as string | undefined) ?? authDevice(req, context)),
    });

  async function takePayload({ req, res, context }: Exchanged, device: string) {
    const { 'qos-level': level, 'content-type': sent } = req.headers;
    if (level !== undefined && level !== '0' && level !== '1')
      throw invalidRequest([{ in: 'header', path: 'qos-level', detail: 'must be 0 or 1' }]);
    const bytes = await readBytes({ req, res }, limits.bytes);
    if (bytes.length === 0) throw invalidRequest([{ in: 'body', path: '', detail: 'must not be empty' }]);
    const type = sent === undefined ? guessedType(bytes) : (payloadType(sent) ?? guessedType(bytes));
    return take(decodePayload(type, bytes, decodeContext(limits, context, device)), context, 202);
  }

  async function take({ readings, rejections }: Decoded, context: RequestContext, code: 200 | 202) {
    const taken = await intake({ readings, rejected: rejectedParts(rejections) }, context);
    if (taken.accepted === 0) throw allRejectedProblem(taken.rejected, false);
    return { status: code, headers: takenHeaders(taken.accepted, taken.rejected.length) };
  }

  const ofTenant = z.strictObject({
    tenant: z.string().meta({ description: 'Not looked at.' }),
    device: deviceId.meta({ description: 'The device that sends.' }),
  });
  return [
    thingsBoard,
    hono('post', '/telemetry', undefined, "Send a device's payload, as to Eclipse Hono"),
    hono('put', '/telemetry/:tenant/:device', ofTenant, 'Send the payload of a device behind a gateway'),
  ];
}

/** The device of the token, or the user name up to its last `@`, as `device@tenant`. */
function authDevice({ headers }: IncomingMessage, { identity }: RequestContext): string {
  if (identity.is === 'device') return identity.deviceId;
  const encoded = /^Basic +(\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
  const user = Buffer.from(encoded, 'base64').toString().split(':', 1)[0] ?? '';
  const device = user.replace(/@[^@]*$/, '');
  if (device !== '') return device;
  throw invalidRequest([
    { in: 'header', path: 'authorization', detail: 'must be Basic, with device@tenant as the user name' },
  ]);
}
