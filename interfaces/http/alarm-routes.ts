import { z } from 'zod';
import type { Alarms } from '../../application/detection/alarms.ts';
import type { AlarmFilter, AlarmQueries, AlarmView } from '../../application/ports/detection.ts';
import type { DeviceDirectory } from '../../application/ports/device-directory.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { ProgressReader } from '../../application/progress.ts';
import { Rejection } from '../../domain/decider.ts';
import { alarmAnswer, alarmJson } from './alarm-schemas.ts';
import { consistencyHeaders, consistencyParameters, consistent } from './consistency.ts';
import { cursorParameter, cursors, next, nextLink, pageOf } from './cursor.ts';
import { boundsOf, mayTouch } from './device-bounds.ts';
import { registrationHeaders } from './device-schemas.ts';
import { conditionsOf, type RequestContext } from './request-context.ts';
import { type Route, route } from './route.ts';
import { ruleId } from './rule-schemas.ts';
import { deviceId, integer, text, time } from './validation.ts';

const params = z.strictObject({
  alarmId: z
    .uuid({ error: 'must be the id of an alarm: a UUID' })
    .meta({ description: 'The id of the alarm.' }),
});
const stateError = 'must be open, acknowledged or cleared';
const key = z.strictObject({ raisedAt: z.number(), alarmId: z.string() });
const note = text(500)
  .optional()
  .meta({ description: 'What others should know.', examples: ['On my way'] });
const one = { description: 'As it is now.', content: { 'application/json': alarmAnswer } };

export function alarmRoutes(
  queries: AlarmQueries,
  alarms: Alarms,
  freshness: ProgressReader,
  ids: Ids,
  directory: Pick<DeviceDirectory, 'find'>,
): readonly Route[] {
  return [
    listRoute(queries, freshness, ids),

    route({
      method: 'get',
      path: '/api/v1/alarms/:alarmId',
      scope: 'devices:read',
      boundKeys: 'each-device',
      tag: 'Alarms',
      summary: 'Get an alarm',
      params,
      responses: { 200: one },
      problems: ['alarm-not-found'],
      async handle({ params: { alarmId }, context }) {
        const alarm = await seen(alarmId, context);
        return { status: 200, json: alarmJson(alarm) };
      },
    }),

    route({
      method: 'post',
      path: '/api/v1/alarms/:alarmId/acknowledge',
      scope: 'devices:write',
      boundKeys: 'each-device',
      tag: 'Alarms',
      summary: 'Acknowledge an alarm',
      description: 'Records who has seen it. An alarm that was acknowledged before stays as it is.',
      params,
      headers: registrationHeaders,
      body: { as: 'json', schema: z.strictObject({ note }), optional: true },
      responses: { 200: one },
      problems: ['alarm-not-found', 'idempotency-key-reused', 'concurrent-changes'],
      async handle({ params: { alarmId }, body, headers, context }) {
        if (boundsOf(context.identity) !== undefined) await seen(alarmId, context);
        const conditions = conditionsOf(context, headers);
        const alarm = await alarms.acknowledge(alarmId, body?.note ?? null, conditions);
        return { status: 200, json: alarmJson(alarm) };
      },
    }),

    route({
      method: 'post',
      path: '/api/v1/alarms/:alarmId/silence',
      scope: 'devices:write',
      boundKeys: 'each-device',
      tag: 'Alarms',
      summary: 'Silence an alarm',
      description:
        'Until then hooks are sent nothing new of its rule, device and metric. What is raised meanwhile is sent at the end, unless it was cleared. A time that has passed ends the silence.',
      params,
      headers: registrationHeaders,
      body: {
        as: 'json',
        schema: z.strictObject({
          until: time.meta({ description: 'The end of the silence.' }),
          note,
        }),
      },
      responses: { 200: one },
      problems: ['alarm-not-found', 'idempotency-key-reused', 'concurrent-changes'],
      async handle({ params: { alarmId }, body: { until, note = null }, headers, context }) {
        if (boundsOf(context.identity) !== undefined) await seen(alarmId, context);
        const conditions = conditionsOf(context, headers);
        const alarm = await alarms.silence(alarmId, { until, note }, conditions);
        return { status: 200, json: alarmJson(alarm) };
      },
    }),

    route({
      method: 'post',
      path: '/api/v1/alarms/:alarmId/clear',
      scope: 'devices:write',
      boundKeys: 'each-device',
      tag: 'Alarms',
      summary: 'Clear an alarm',
      description:
        'What raised it counts anew: where it still holds, a later reading raises another alarm. One that was cleared before stays as it is.',
      params,
      body: { as: 'json', schema: z.strictObject({ note }), optional: true },
      responses: {
        200: one,
        202: { ...one, description: 'As it is now: it will be cleared once detection has come so far.' },
      },
      problems: ['alarm-not-found'],
      async handle({ params: { alarmId }, body, context }) {
        if (boundsOf(context.identity) !== undefined) await seen(alarmId, context);
        const alarm = await alarms.clear(alarmId, body?.note ?? null, context.caller);
        return { status: alarm.state === 'cleared' ? 200 : 202, json: alarmJson(alarm) };
      },
    }),
  ];

  async function seen(alarmId: string, context: RequestContext): Promise<AlarmView> {
    const alarm = await queries.find(alarmId);
    if (alarm && (await mayTouch(directory, context, alarm.deviceId))) return alarm;
    throw new Rejection('AlarmNotFound', `There is no alarm ${alarmId}`);
  }
}

const listRoute = (queries: AlarmQueries, freshness: ProgressReader, ids: Ids): Route =>
  route({
    method: 'get',
    path: '/api/v1/alarms',
    scope: 'devices:read',
    boundKeys: 'selection',
    tag: 'Alarms',
    summary: 'List alarms',
    query: consistencyParameters.extend({
      state: z
        .enum(['open', 'acknowledged', 'cleared'], { error: stateError })
        .optional()
        .meta({ description: 'Alarms in this state; `open` are those that nobody has acknowledged.' }),
      deviceId: deviceId.optional().meta({ description: 'Alarms of this device.' }),
      rule: ruleId.optional().meta({ description: 'Alarms of this rule.' }),
      since: time.optional().meta({ description: 'Alarms raised from then on.' }),
      limit: integer(1, 1000).default(100).meta({ description: 'Alarms in this page at most.' }),
      cursor: cursorParameter,
    }),
    responses: {
      200: {
        description: 'The newest first.',
        content: { 'application/json': z.strictObject({ alarms: z.array(alarmAnswer), next }) },
        headers: { ...consistencyHeaders, Link: 'The next page, as `rel="next"`.' },
      },
    },
    problems: ['not-yet-projected'],
    async handle({ req, query, context }) {
      const within = boundsOf(context.identity);
      const filter = { ...filterOf(query), ...(within !== undefined && { within }) };
      const projections =
        within === undefined ? (['detection'] as const) : (['detection', 'devices'] as const);
      const headers = await consistent(freshness, projections, query);
      const cursor = cursors(ids, ['alarms', filter], key);
      const after = cursor.read(query.cursor);
      const found = await queries.list(filter, {
        limit: query.limit + 1,
        ...(after !== undefined && { after }),
      });
      const { rows, next } = pageOf(
        found,
        query.limit,
        ({ raisedAt, alarmId }) => ({ raisedAt, alarmId }),
        cursor,
      );
      return {
        status: 200,
        headers: { ...headers, ...nextLink(req.url, next) },
        json: { alarms: rows.map(alarmJson), next },
      };
    },
  });

function filterOf({
  state,
  deviceId,
  rule,
  since,
}: {
  state?: AlarmFilter['state'] | undefined;
  deviceId?: string | undefined;
  rule?: string | undefined;
  since?: number | undefined;
}): AlarmFilter {
  return {
    ...(state !== undefined && { state }),
    ...(deviceId !== undefined && { deviceId }),
    ...(rule !== undefined && { ruleId: rule }),
    ...(since !== undefined && { since }),
  };
}
