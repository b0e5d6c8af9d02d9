import { z } from 'zod';
import type { Hooks } from '../../application/detection/hooks.ts';
import { type PreviewServices, previewRule } from '../../application/detection/preview.ts';
import type { RuleAction, RuleAnswer, Rules } from '../../application/detection/rules.ts';
import { StaleRevision } from '../../application/devices/device-commands.ts';
import type { Ids } from '../../application/ports/system.ts';
import { Rejection } from '../../domain/decider.ts';
import { previewAnswer, transitionJson } from './alarm-schemas.ts';
import { commandHeaders, etag, registrationHeaders } from './device-schemas.ts';
import type { ValidationIssue } from './problems.ts';
import { abortOnClose, type ConditionHeaders, conditionsOf, type RequestContext } from './request-context.ts';
import { type Route, type RouteResponse, route } from './route.ts';
import {
  definitionJson,
  definitionOf,
  newRule,
  ruleAnswer,
  ruleBody,
  ruleChanges,
  ruleId,
  ruleJson,
} from './rule-schemas.ts';
import { explain, rejectIssues, time } from './validation.ts';

const params = z.strictObject({ ruleId: ruleId.meta({ description: 'The id of the rule.' }) });
const one = (description: string, headers: Record<string, string> = {}) => ({
  description,
  content: { 'application/json': ruleAnswer },
  headers: { ETag: 'The revision of the rule, in quotes.', ...headers },
});
const changeProblems = [
  'rule-not-found',
  'rule-removed',
  'stale-revision',
  'idempotency-key-reused',
  'concurrent-changes',
] as const;

type RuleServices = {
  readonly rules: Rules;
  readonly hooks: Pick<Hooks, 'find'>;
  readonly ids: Ids;
};

export const ruleRoutes = (services: RuleServices & PreviewServices): readonly Route[] => [
  createRoute(services),
  listRoute(services),
  findRoute(services),
  changeRoute(services),
  ...(['enable', 'disable', 'remove'] as const).map((action) => actionRoute(services, action)),
  previewRoute(services),
];

const createRoute = ({ rules, hooks, ids }: RuleServices): Route =>
  route({
    method: 'post',
    path: '/api/v1/rules',
    scope: 'devices:write',
    tag: 'Alarms',
    summary: 'Create a rule',
    description: 'It judges readings that arrive some seconds later or after; `since` says from when on.',
    headers: registrationHeaders,
    body: { as: 'json', schema: newRule },
    responses: { 201: one('The rule as it was created.', { Location: 'The address of the rule.' }) },
    problems: ['rule-already-exists', 'idempotency-key-reused', 'concurrent-changes'],
    async handle({ body, headers, context }) {
      await requireHooks(hooks, body.notify, []);
      const key = headers['idempotency-key'];
      const id =
        body.ruleId ?? (key === undefined ? ids.uuidV7() : ids.uuidV5('rule', context.caller.actor, key));
      const answer = await rules.create(id, definitionOf(body), conditionsOf(context, headers));
      const { headers: tag, json } = respond(answer);
      return { status: 201, headers: { ...tag, Location: `/api/v1/rules/${id}` }, json };
    },
  });

const listRoute = ({ rules }: RuleServices): Route =>
  route({
    method: 'get',
    path: '/api/v1/rules',
    scope: 'devices:read',
    tag: 'Alarms',
    summary: 'List rules',
    responses: {
      200: {
        description: 'In order of creation, without those that were removed.',
        content: { 'application/json': z.strictObject({ rules: z.array(ruleAnswer) }) },
      },
    },
    problems: ['dependency-unavailable'],
    handle: async () => ({ status: 200, json: { rules: (await rules.list()).map(ruleJson) } }),
  });

const findRoute = ({ rules }: RuleServices): Route =>
  route({
    method: 'get',
    path: '/api/v1/rules/:ruleId',
    scope: 'devices:read',
    tag: 'Alarms',
    summary: 'Get a rule',
    params,
    responses: { 200: one('As it is now.') },
    problems: ['rule-not-found'],
    async handle({ params: { ruleId } }) {
      const rule = await find(rules, ruleId);
      return { status: 200, headers: { ETag: etag(rule.revision) }, json: ruleJson(rule) };
    },
  });

const changeRoute = (services: RuleServices): Route =>
  route({
    method: 'patch',
    path: '/api/v1/rules/:ruleId',
    scope: 'devices:write',
    tag: 'Alarms',
    summary: 'Change a rule',
    description: 'Alarms that it has open are cleared when the change counts, and it starts to learn anew.',
    params,
    headers: commandHeaders,
    body: { as: 'json', schema: ruleChanges },
    responses: { 200: one('The rule as it is now; unchanged when it was so already.') },
    problems: changeProblems,
    handle: ({ params: { ruleId }, body, headers, context }) =>
      change(services, ruleId, body, headers, context),
  });

const actionRoute = ({ rules }: RuleServices, action: RuleAction): Route =>
  route({
    method: 'post',
    path: `/api/v1/rules/:ruleId/${action}`,
    scope: 'devices:write',
    tag: 'Alarms',
    summary: summaries[action],
    params,
    headers: commandHeaders,
    body: { as: 'json', schema: z.strictObject({}), optional: true },
    responses: { 200: one('The rule as it is now; unchanged when it was so already.') },
    problems: changeProblems,
    handle: async ({ params: { ruleId }, headers, context }) =>
      respond(await rules.set(ruleId, action, conditionsOf(context, headers))),
  });

async function find(rules: Rules, ruleId: string) {
  const rule = await rules.find(ruleId);
  if (!rule) throw new Rejection('RuleNotFound', `There is no rule ${ruleId}`);
  return rule;
}

/** Hooks that a rule has already may have been removed meanwhile. */
async function requireHooks(
  hooks: RuleServices['hooks'],
  notify: readonly string[] = [],
  known: readonly string[],
): Promise<void> {
  const issues: ValidationIssue[] = [];
  for (const [i, hookId] of notify.entries()) {
    if (known.includes(hookId)) continue;
    const hook = await hooks.find(hookId);
    if (!hook || hook.status === 'removed')
      issues.push({ in: 'body', path: `/notify/${i}`, detail: `there is no hook ${hookId}` });
  }
  rejectIssues(issues);
}

/** The fields that were sent together with those that stay must make a valid rule. */
async function change(
  { rules, hooks }: RuleServices,
  ruleId: string,
  changes: Readonly<Record<string, unknown>>,
  headers: ConditionHeaders,
  context: RequestContext,
): Promise<RouteResponse> {
  for (let attempt = 1; ; attempt += 1) {
    const before = await find(rules, ruleId);
    const merged = Object.entries({ ...definitionJson(before.definition), ...changes });
    const wanted = Object.fromEntries(merged.filter(([, value]) => value !== null));
    rejectIssues(explain(ruleBody, wanted, []));
    const definition = definitionOf(ruleBody.parse(wanted));
    await requireHooks(hooks, definition.notify, before.definition.notify);
    const conditions = conditionsOf(context, headers);
    const expectedRevision = conditions.expectedRevision ?? before.revision;
    // A metric that was removed must not come back from the rule as it was.
    const whole = { ...definition, metric: definition.metric };
    try {
      const isRepeatable = conditions.idempotencyKey !== undefined;
      const checked = isRepeatable ? conditions : { ...conditions, expectedRevision };
      return respond(await rules.change(ruleId, whole as typeof definition, checked));
    } catch (error) {
      const isOurs = error instanceof StaleRevision && conditions.expectedRevision === undefined;
      if (!isOurs || attempt === 8) throw error;
    }
  }
}

const summaries: Record<RuleAction, string> = {
  enable: 'Enable a rule',
  disable: 'Disable a rule: its alarms are cleared',
  remove: 'Remove a rule, for good: its alarms are cleared',
};

const previewRoute = (services: PreviewServices): Route =>
  route({
    method: 'post',
    path: '/api/v1/rules/preview',
    scope: 'telemetry:read',
    tag: 'Alarms',
    summary: 'Preview a rule: the alarms it would have raised',
    description:
      'Judges stored readings in order of time with the code that judges arriving ones; time stands for time of arrival. Nothing is stored and nobody is notified.',
    body: {
      as: 'json',
      schema: z.strictObject({
        rule: ruleBody.meta({ description: 'The rule, as it would be created.' }),
        from: time.meta({ description: 'Readings from this time on.' }),
        to: time.meta({ description: 'And before this time.' }),
      }),
    },
    responses: {
      200: { description: 'What it would have found.', content: { 'application/json': previewAnswer } },
    },
    problems: ['preview-too-large'],
    async handle({ res, body: { rule, from, to } }) {
      const found = await previewRule(
        definitionOf(rule),
        { from, to },
        services,
        abortOnClose(res),
        Date.now(),
      );
      const { points, devices, raised, isCut } = found;
      return {
        status: 200,
        json: { points, devices, raised, isCut, changes: found.changes.map(transitionJson) },
      };
    },
  });

const respond = ({ rule }: RuleAnswer): RouteResponse => ({
  status: 200,
  headers: { ETag: etag(rule.revision) },
  json: ruleJson(rule),
});
