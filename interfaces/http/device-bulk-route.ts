import { z } from 'zod';
import type { CommandResult, DeviceCommands } from '../../application/devices/device-commands.ts';
import type { Credentials } from '../../application/ports/api-keys.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { DeviceCommand } from '../../domain/device.ts';
import { MalformedLine, readItems, Turns } from './body.ts';
import { requireWithin } from './device-bounds.ts';
import {
  newDeviceId,
  positioned,
  registeredDevice,
  registration,
  registrationHeaders,
} from './device-schemas.ts';
import {
  HttpProblem,
  invalidRequest,
  problemKinds,
  problemOf,
  problemType,
  type ValidationIssue,
} from './problems.ts';
import type { RequestContext } from './request-context.ts';
import { type Route, route } from './route.ts';
import { explain } from './validation.ts';

/** Enough for the event store to write many in one go. */
const concurrency = 64;

const outcome = z
  .strictObject({
    index: z.int().min(0).meta({ description: 'Place in the request, from 0.' }),
    status: z.int().meta({
      description: 'The HTTP status the item would have got by itself: 201, 400, 403, 409, 422, 503.',
    }),
    deviceId: z.string().optional(),
    device: registeredDevice.optional(),
    type: z.string().optional().meta({ description: 'The type of the problem.' }),
    detail: z.string().optional(),
    errors: z.array(z.object({ in: z.string(), path: z.string(), detail: z.string() })).optional(),
  })
  .meta({ id: 'BulkOutcome' });
type Outcome = z.output<typeof outcome>;

type Item = { readonly index: number; readonly registering: Registration };

type BulkServices = {
  readonly commands: DeviceCommands;
  readonly ids: Ids;
  readonly credentials: Credentials;
};

type BulkLimits = { readonly bytes: number; readonly items: number };

export const deviceBulkRoute = (services: BulkServices, limits: BulkLimits): Route =>
  route({
    method: 'post',
    path: '/api/v1/devices/bulk',
    scope: 'devices:write',
    boundKeys: 'each-device',
    tag: 'Devices',
    summary: 'Register many devices',
    description: 'Each item succeeds or fails by itself. Of two items with one id the later gets 409.',
    headers: registrationHeaders,
    body: {
      as: 'items',
      item: registration,
      alone: false,
      description: `Up to ${limits.items} devices.`,
      types: ['application/json', 'application/x-ndjson'],
    },
    responses: {
      200: {
        description: 'One outcome an item, in their order.',
        content: { 'application/json': z.strictObject({ outcomes: z.array(outcome) }) },
      },
    },
    problems: ['too-many-items'],
    async handle({ req, res, headers, context }) {
      const { items, alone } = await readItems({ req, res }, limits);
      if (alone || items.length === 0)
        throw invalidRequest([{ in: 'body', path: '', detail: 'must be an array of at least one device' }]);
      const key = headers['idempotency-key'];
      return {
        status: 200,
        json: { outcomes: await new BulkRegistration(services, context, key).run(items) },
      };
    },
  });

/** The devices of one request, registered many at once. */
class BulkRegistration {
  readonly #services: BulkServices;
  readonly #context: RequestContext;
  readonly #idempotencyKey: string | undefined;

  constructor(services: BulkServices, context: RequestContext, idempotencyKey: string | undefined) {
    this.#services = services;
    this.#context = context;
    this.#idempotencyKey = idempotencyKey;
  }

  /** One outcome a value, in their order. */
  async run(values: readonly unknown[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    const byDevice = new Map<string, Item[]>();
    const turns = new Turns();
    for (const [index, value] of values.entries()) {
      if (turns.isDue(index)) await turns.rest();
      const item = this.#itemOf(value, index);
      if ('outcome' in item) outcomes[index] = item.outcome;
      else {
        const { deviceId } = item.registering;
        byDevice.set(deviceId, [...(byDevice.get(deviceId) ?? []), item]);
      }
    }
    const waiting = byDevice.values();
    // Items of one device keep their order: the first of them is the one to be registered.
    const registerWaiting = async () => {
      for (const items of waiting)
        for (const item of items) outcomes[item.index] = await this.#register(item);
    };
    await Promise.all(Array.from({ length: concurrency }, registerWaiting));
    return outcomes;
  }

  #itemOf(value: unknown, index: number): Item | { outcome: Outcome } {
    if (value instanceof MalformedLine)
      return { outcome: refused(index, new HttpProblem('malformed-json', value.detail)) };
    const result = registration.safeParse(value);
    if (!result.success) {
      const errors: readonly ValidationIssue[] = explain(registration, value, [index]);
      return { outcome: refused(index, invalidRequest(errors)) };
    }
    const { ids, credentials } = this.#services;
    const { actor } = this.#context.caller;
    return { index, registering: registrationOf(result.data, ids, credentials, actor, this.#keyOf(index)) };
  }

  async #register({ index, registering }: Item): Promise<Outcome> {
    const { deviceId, command, secret } = registering;
    const idempotencyKey = this.#keyOf(index);
    try {
      requireWithin(this.#context, { deviceId, ...command.details });
      const result = await this.#services.commands.handle(command, {
        ...this.#context.caller,
        ...(idempotencyKey !== undefined && { idempotencyKey }),
      });
      return { index, status: 201, deviceId, device: registrationResponse(result, secret) };
    } catch (error) {
      const problem = problemOf(error);
      if (problem.kind === 'internal-error') throw error;
      return { ...refused(index, problem), deviceId };
    }
  }

  #keyOf(index: number): string | undefined {
    return this.#idempotencyKey && `${this.#idempotencyKey}/${index}`;
  }
}

function refused(index: number, { kind, message, extras }: HttpProblem): Outcome {
  const { errors } = (extras.members ?? {}) as Pick<Outcome, 'errors'>;
  return {
    index,
    status: problemKinds[kind].status,
    type: problemType(kind),
    detail: message,
    ...(errors && { errors }),
  };
}

type Registration = {
  readonly deviceId: string;
  readonly command: Extract<DeviceCommand, { readonly type: 'RegisterDevice' }>;
  /** Of the device token, when one was requested. */
  readonly secret: string | undefined;
};

export function registrationOf(
  body: z.output<typeof registration>,
  ids: Ids,
  credentials: Credentials,
  actor: string,
  idempotencyKey: string | undefined,
): Registration {
  const { deviceId = newDeviceId(ids, actor, idempotencyKey), issueToken, ...details } = body;
  const token = issueToken ? credentials.issue('device', deviceId) : undefined;
  return {
    deviceId,
    command: { type: 'RegisterDevice', deviceId, details, ...(token && { tokenHash: token.hash }) },
    secret: token?.secret,
  };
}

/** The device, and the token's secret for the request that registered it: a repeated one gets `null`. */
export const registrationResponse = (
  result: CommandResult,
  secret: string | undefined,
): z.output<typeof registeredDevice> => ({
  ...positioned(result),
  ...(secret !== undefined && { token: result.wasReplayed ? null : secret }),
});
