import { z } from 'zod';
import type { SavedQueries, SavedQuery } from '../../application/live/saved-queries.ts';
import { Rejection } from '../../domain/decider.ts';
import { commandHeaders, etag } from './device-schemas.ts';
import { liveQueryName, liveSelection, liveSelectionNames } from './live-parameters.ts';
import type { ValidationIssue } from './problems.ts';
import { conditionsOf } from './request-context.ts';
import { type Route, route } from './route.ts';
import { parse, rejectIssues } from './validation.ts';

const valueError = 'must be a text or an array of texts';
const value = z.union([z.string(), z.array(z.string()).max(100)], { error: valueError });
const parameters = z
  .strictObject(
    Object.fromEntries(
      liveSelectionNames.map((name) => [
        name,
        value.optional().meta({ description: `As \`${name}\` of \`GET /api/v1/live\`.` }),
      ]),
    ),
  )
  .meta({
    id: 'LiveQueryParameters',
    description: 'Parameters of `GET /api/v1/live`, but for `from`.',
    examples: [{ events: 'buckets', interval: '1h', metric: 'temperature', type: 'boiler' }],
  });

const answer = z
  .strictObject({
    name: z.string(),
    parameters,
    revision: z
      .int()
      .min(0)
      .meta({ description: 'Counts the changes since it was first saved, which is 0.' }),
    savedAt: z.iso.datetime(),
    savedBy: z.string(),
  })
  .meta({ id: 'LiveQuery' });

const params = z.strictObject({ name: liveQueryName.meta({ description: 'The name of the live query.' }) });
const one = {
  description: 'The live query as it is now.',
  content: { 'application/json': answer },
  headers: { ETag: 'The revision of the live query, in quotes.' },
};
const path = '/api/v1/live/queries/:name';

/** Queries that `GET /api/v1/live?query=` runs. Every change is an event, with who made it. */
export const liveQueryRoutes = (queries: SavedQueries): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/live/queries',
    scope: 'telemetry:read',
    tag: 'Telemetry',
    summary: 'List saved live queries',
    responses: {
      200: {
        description: 'By name.',
        content: { 'application/json': z.strictObject({ queries: z.array(answer) }) },
      },
    },
    handle: async () => ({ status: 200, json: { queries: await queries.list() } }),
  }),

  route({
    method: 'get',
    path,
    scope: 'telemetry:read',
    tag: 'Telemetry',
    summary: 'Get a saved live query',
    params,
    responses: { 200: one },
    problems: ['live-query-not-found'],
    async handle({ params: { name } }) {
      const saved = await queries.find(name);
      if (!saved) throw new Rejection('LiveQueryNotFound', `There is no live query ${name}`);
      return respond(saved);
    },
  }),

  route({
    method: 'put',
    path,
    scope: 'operate',
    tag: 'Telemetry',
    summary: 'Save a live query',
    description: 'Anew where there is one: streams that are open stay as they are.',
    params,
    headers: commandHeaders,
    body: { as: 'json', schema: parameters },
    responses: { 200: one },
    problems: ['stale-revision', 'idempotency-key-reused', 'concurrent-changes'],
    async handle({ params: { name }, body, headers, context }) {
      const issues: ValidationIssue[] = [];
      parse(liveSelection, body, 'body', issues);
      rejectIssues(issues);
      const given = Object.fromEntries(
        Object.entries(body).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
      );
      return respond(await queries.save(name, given, conditionsOf(context, headers)));
    },
  }),

  route({
    method: 'delete',
    path,
    scope: 'operate',
    tag: 'Telemetry',
    summary: 'Remove a saved live query',
    params,
    headers: commandHeaders,
    responses: { 204: { description: 'It is removed; streams that are open stay as they are.' } },
    problems: ['live-query-not-found', 'stale-revision', 'idempotency-key-reused', 'concurrent-changes'],
    async handle({ params: { name }, headers, context }) {
      await queries.remove(name, conditionsOf(context, headers));
      return { status: 204 };
    },
  }),
];

const respond = (saved: SavedQuery) => ({
  status: 200,
  headers: { ETag: etag(saved.revision) },
  json: saved,
});
