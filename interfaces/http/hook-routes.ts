import { z } from 'zod';
import type { HookAction, Hooks, StoredHook } from '../../application/detection/hooks.ts';
import { sendTest } from '../../application/detection/sending.ts';
import { deliveryStates, type HookDeliveries, type HookSender } from '../../application/ports/hooks.ts';
import type { Ids } from '../../application/ports/system.ts';
import { Rejection } from '../../domain/decider.ts';
import { commandHeaders, etag } from './device-schemas.ts';
import {
  createdHook,
  deliveryAnswer,
  deliveryJson,
  hookAnswer,
  hookJson,
  hookKind,
  hookSecret,
  hookTestAnswer,
  hookUrl,
} from './hook-schemas.ts';
import { HttpProblem, invalidRequest } from './problems.ts';
import { abortOnClose, conditionsOf } from './request-context.ts';
import { type Route, route } from './route.ts';
import { hookId } from './rule-schemas.ts';
import { integer } from './validation.ts';

type HookServices = {
  readonly hooks: Hooks;
  readonly hookDeliveries: Pick<HookDeliveries, 'list' | 'retry' | 'drop'>;
  readonly hookSender: HookSender;
  readonly ids: Ids;
};

const params = z.strictObject({ hookId: hookId.meta({ description: 'The id of the hook.' }) });
const one = {
  description: 'The hook as it is now.',
  content: { 'application/json': hookAnswer },
  headers: { ETag: 'The revision of the hook, in quotes.' },
};
const changeProblems = [
  'hook-not-found',
  'hook-removed',
  'stale-revision',
  'idempotency-key-reused',
  'concurrent-changes',
] as const;
const common = { tag: 'Alarms', scope: 'operate' } as const;

export const hookRoutes = (services: HookServices): readonly Route[] => [
  createRoute(services),
  listRoute(services),
  findRoute(services),
  changeRoute(services),
  ...(['enable', 'disable', 'remove'] as const).map((action) => actionRoute(services, action)),
  testRoute(services),
  deliveriesRoute(services),
  retryRoute(services),
];

const createRoute = ({ hooks, hookSender, ids }: HookServices): Route =>
  route({
    ...common,
    method: 'post',
    path: '/api/v1/hooks',
    summary: 'Create a hook',
    description: 'Rules that have its id in `notify` send it their alarms. The answer alone has the secret.',
    body: {
      as: 'json',
      schema: z
        .strictObject({
          hookId: hookId.optional().meta({ description: 'Made by the server when absent: a UUID.' }),
          kind: hookKind.default('webhook'),
          url: hookUrl,
          secret: hookSecret.optional().meta({ description: 'Made by the server when absent.' }),
        })
        .meta({ id: 'NewHook' }),
    },
    responses: {
      201: {
        ...one,
        description: 'The hook as it was created.',
        content: { 'application/json': createdHook },
        headers: { ...one.headers, Location: 'The address of the hook.' },
      },
    },
    problems: ['hook-already-exists', 'concurrent-changes'],
    async handle({ body, context }) {
      requirePublic(hookSender, body.url);
      const id = body.hookId ?? ids.uuidV7();
      const definition = {
        ...(body.kind !== 'webhook' && { kind: body.kind }),
        url: body.url,
        ...(body.secret !== undefined && { secret: body.secret }),
      };
      const hook = await hooks.create(id, definition, context.caller);
      return {
        status: 201,
        headers: { ETag: etag(hook.revision), Location: `/api/v1/hooks/${id}` },
        json: { ...hookJson(hook), secret: hook.definition.secret },
      };
    },
  });

const listRoute = ({ hooks }: HookServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/hooks',
    summary: 'List hooks',
    responses: {
      200: {
        description: 'In order of creation, without those that were removed.',
        content: { 'application/json': z.strictObject({ hooks: z.array(hookAnswer) }) },
      },
    },
    problems: ['dependency-unavailable'],
    handle: async () => ({ status: 200, json: { hooks: (await hooks.list()).map(hookJson) } }),
  });

const findRoute = ({ hooks }: HookServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/hooks/:hookId',
    summary: 'Get a hook',
    params,
    responses: { 200: one },
    problems: ['hook-not-found'],
    handle: async ({ params: { hookId } }) => respond(await find(hooks, hookId)),
  });

const changeRoute = ({ hooks, hookSender }: HookServices): Route =>
  route({
    ...common,
    method: 'patch',
    path: '/api/v1/hooks/:hookId',
    summary: 'Change the address or the secret of a hook',
    description: 'Counts from the next request on; those that wait are sent to the new address.',
    params,
    headers: commandHeaders,
    body: {
      as: 'json',
      schema: z
        .strictObject({ url: hookUrl.optional(), secret: hookSecret.optional() })
        .refine((given) => Object.keys(given).length > 0, { error: 'must have url or secret' })
        .meta({ minProperties: 1 }),
    },
    responses: { 200: one },
    problems: changeProblems,
    async handle({ params: { hookId }, body: { url, secret }, headers, context }) {
      if (url !== undefined) requirePublic(hookSender, url);
      const changes = { ...(url !== undefined && { url }), ...(secret !== undefined && { secret }) };
      return respond(await hooks.change(hookId, changes, conditionsOf(context, headers)));
    },
  });

const actionRoute = ({ hooks, hookDeliveries }: HookServices, action: HookAction): Route =>
  route({
    ...common,
    method: 'post',
    path: `/api/v1/hooks/:hookId/${action}`,
    summary: summaries[action],
    params,
    headers: commandHeaders,
    body: { as: 'json', schema: z.strictObject({}), optional: true },
    responses: { 200: one },
    problems: changeProblems,
    async handle({ params: { hookId }, headers, context }) {
      const hook = await hooks.set(hookId, action, conditionsOf(context, headers));
      if (action === 'remove') await hookDeliveries.drop(hookId);
      return respond(hook);
    },
  });

const testRoute = ({ hooks, hookSender, ids }: HookServices): Route =>
  route({
    ...common,
    method: 'post',
    path: '/api/v1/hooks/:hookId/test',
    summary: 'Send a test message to a hook',
    description:
      'Once and at once, signed as alarms are, of type `fieldlog.hook.test`; also to a hook that is disabled.',
    params,
    body: { as: 'json', schema: z.strictObject({}), optional: true },
    responses: {
      200: {
        description: 'What came of it, within 10 s.',
        content: { 'application/json': hookTestAnswer },
      },
    },
    problems: ['hook-not-found', 'hook-removed'],
    async handle({ res, params: { hookId } }) {
      const hook = await find(hooks, hookId);
      if (hook.status === 'removed')
        throw new Rejection('HookIsRemoved', `Hook ${hookId} is removed, which is final`);
      const ports = { sender: hookSender, ids, clock: { now: Date.now } };
      return { status: 200, json: await sendTest(hook, ports, abortOnClose(res)) };
    },
  });

const deliveriesRoute = ({ hooks, hookDeliveries }: HookServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/hooks/:hookId/deliveries',
    summary: 'List what was not delivered to a hook',
    params,
    query: z.strictObject({
      state: z
        .enum(deliveryStates, { error: 'must be waiting, failed, repeating, silenced or gathering' })
        .optional()
        .meta({ description: 'Only deliveries in this state; those that wait or failed when absent.' }),
      after: integer(1, Number.MAX_SAFE_INTEGER)
        .optional()
        .meta({ description: 'The last `deliveryId` of the previous page.' }),
      limit: integer(1, 1000).default(100).meta({ description: 'Deliveries in this page at most.' }),
    }),
    responses: {
      200: {
        description: 'The oldest first; the last `deliveryId` in `after` gives the next page.',
        content: { 'application/json': z.strictObject({ deliveries: z.array(deliveryAnswer) }) },
      },
    },
    problems: ['hook-not-found'],
    async handle({ params: { hookId }, query: { state, after, limit } }) {
      await find(hooks, hookId);
      const filter = { limit, ...(state && { state }), ...(after !== undefined && { after }) };
      const found = await hookDeliveries.list(hookId, filter);
      return { status: 200, json: { deliveries: found.map(deliveryJson) } };
    },
  });

const retryRoute = ({ hooks, hookDeliveries }: HookServices): Route =>
  route({
    ...common,
    method: 'post',
    path: '/api/v1/hooks/:hookId/deliveries/retry',
    summary: 'Retry failed deliveries of a hook: one, or all',
    params,
    body: {
      as: 'json',
      schema: z.strictObject({
        deliveryId: z
          .int({ error: 'must be the id of a delivery' })
          .min(1, { error: 'must be the id of a delivery' })
          .optional()
          .meta({ description: 'All that failed when absent.' }),
      }),
      optional: true,
    },
    responses: {
      200: {
        description: 'How many are to be sent again.',
        content: { 'application/json': z.strictObject({ retried: z.int() }) },
      },
    },
    problems: ['hook-not-found', 'not-found'],
    async handle({ params: { hookId }, body }) {
      await find(hooks, hookId);
      const deliveryId = body?.deliveryId;
      const retried = await hookDeliveries.retry(hookId, Date.now(), deliveryId);
      if (deliveryId !== undefined && retried === 0)
        throw new HttpProblem('not-found', `Hook ${hookId} has no failed delivery ${deliveryId}`);
      return { status: 200, json: { retried } };
    },
  });

async function find(hooks: HookServices['hooks'], id: string): Promise<StoredHook> {
  const hook = await hooks.find(id);
  if (!hook) throw new Rejection('HookNotFound', `There is no hook ${id}`);
  return hook;
}

function requirePublic(hookSender: HookServices['hookSender'], url: string): void {
  const fault = hookSender.faultOf(url);
  if (fault !== undefined) throw invalidRequest([{ in: 'body', path: '/url', detail: fault }]);
}

const summaries: Record<HookAction, string> = {
  enable: 'Enable a hook',
  disable: 'Disable a hook: what would be sent to it fails, and can be retried',
  remove: 'Remove a hook, for good, with what was not delivered to it',
};

const respond = (hook: StoredHook) => ({
  status: 200,
  headers: { ETag: etag(hook.revision) },
  json: hookJson(hook),
});
