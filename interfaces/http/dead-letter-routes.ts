import { z } from 'zod';
import type { DeadLetterSelector, Retried } from '../../application/operations/dead-letters.ts';
import type { DeadLetterSummary } from '../../application/ports/dead-letters.ts';
import { type ProjectionName, projectionNames } from '../../application/projections/projection.ts';
import { isoTimeOf } from './operation-schemas.ts';
import { HttpProblem } from './problems.ts';
import type { OperatorServices } from './projection-routes.ts';
import { type Route, route } from './route.ts';
import { integer, single, text } from './validation.ts';

export const causes = [
  'malformed',
  'unknown-type',
  'unknown-device',
  'wrong-partition',
  'future',
  'failed',
  'behind',
] as const;

const summary = z
  .strictObject({
    id: z.int(),
    projection: z.string(),
    generation: z.int(),
    partition: z.int(),
    position: z.string(),
    stream: z.string(),
    eventId: z.string(),
    eventType: z.string(),
    cause: z.enum(causes),
    error: z.string(),
    correlationId: z.string(),
    parkedAt: z.iso.datetime(),
    discarded: z.strictObject({ by: z.string(), reason: z.string(), at: z.iso.datetime() }).nullable(),
  })
  .meta({ id: 'DeadLetter' });

const deadLettersResponse = z.strictObject({ deadLetters: z.array(summary) });

const deadLetterResponse = summary
  .extend({ stack: z.string().nullable(), event: z.unknown() })
  .meta({ id: 'DeadLetterEvent' });

const countsAnswer = z.strictObject({
  counts: z.array(
    z.strictObject({
      projection: z.string(),
      cause: z.enum(causes),
      waiting: z.int(),
      discarded: z.int(),
    }),
  ),
});

const retriedAnswer = z.strictObject({
  streams: z.array(
    z.strictObject({
      projection: z.string(),
      stream: z.string(),
      applied: z.int(),
      failed: z.strictObject({ position: z.string(), cause: z.enum(causes), error: z.string() }).nullable(),
    }),
  ),
});

/** A dead letter as JSON, with ISO times. */
export const deadLetterJson = <Letter extends DeadLetterSummary>({
  parkedAt,
  discarded,
  ...deadLetter
}: Letter) => ({
  ...deadLetter,
  parkedAt: isoTimeOf(parkedAt),
  discarded: discarded && { ...discarded, at: isoTimeOf(discarded.at) },
});

const cause = z.enum(causes, { error: `must be one of ${causes.join(', ')}` });
const names = projectionNames as readonly [ProjectionName, ...ProjectionName[]];
const projection = z.enum(names, { error: `must be one of ${names.join(', ')}` });
const idError = 'must be the id of a dead letter';
const id = integer(1, Number.MAX_SAFE_INTEGER);

const choice = {
  id: z
    .int({ error: idError })
    .min(1, { error: idError })
    .optional()
    .meta({ description: 'Id of one dead letter.' }),
  projection: projection.optional().meta({ description: 'Only this projection.' }),
  stream: text(160).optional().meta({ description: 'All dead letters of a stream; needs `projection`.' }),
};

/** Exactly one way to choose, as a schema: some members are there, and those of the other ways are not. */
const onlyWith = (required: readonly string[], ...absent: readonly string[]) => ({
  required,
  properties: Object.fromEntries([
    ...required.map((name) => [name, {}]),
    ...absent.map((name) => [name, { not: {} }]),
  ]),
});
const oneChoice = [onlyWith(['id'], 'stream', 'all'), onlyWith(['stream', 'projection'], 'id', 'all')];

const common = { tag: 'Operation', scope: 'operate' } as const;

export const deadLetterRoutes = (services: OperatorServices): readonly Route[] => [
  listRoute(services),
  countsRoute(services),
  findRoute(services),
  retryRoute(services),
  discardRoute(services),
];

const listRoute = ({ replay: { deadLetters } }: OperatorServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/dead-letters',
    summary: 'List dead letters in the order they were parked',
    query: z.strictObject({
      projection: projection.optional().meta({ description: 'Only this projection.' }),
      cause: cause.optional().meta({ description: 'Only this cause.' }),
      stream: single('must be a stream, such as device-boiler-7')
        .optional()
        .meta({ description: 'Only this stream, such as `device-boiler-7`.' }),
      discarded: z
        .enum(['true', 'false'], { error: 'must be true or false' })
        .default('false')
        .meta({ description: 'Discarded instead of waiting dead letters.' }),
      limit: integer(1, 1000).default(100).meta({ description: 'Page size; 100 when absent.' }),
      after: id.optional().meta({ description: 'The last `id` of the previous page.' }),
    }),
    responses: {
      200: {
        description: 'A page; the last `id` in `after` gives the next.',
        content: { 'application/json': deadLettersResponse },
      },
    },
    async handle({ query: { limit, after, discarded, ...given } }) {
      const filter = { ...defined(given), discarded: discarded === 'true' };
      const page = { limit, ...(after !== undefined && { after }) };
      return {
        status: 200,
        json: { deadLetters: (await deadLetters.list(filter, page)).map(deadLetterJson) },
      };
    },
  });

const countsRoute = ({ replay: { deadLetters } }: OperatorServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/dead-letters/counts',
    summary: 'Count waiting and discarded dead letters by projection and cause',
    responses: {
      200: {
        description: 'Current counts.',
        content: { 'application/json': countsAnswer },
      },
    },
    handle: async () => ({ status: 200, json: { counts: await deadLetters.counts() } }),
  });

const findRoute = ({ replay: { deadLetters } }: OperatorServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/dead-letters/:id',
    summary: 'Get a dead letter: the event, its error, its position in the log',
    params: z.strictObject({ id: id.meta({ description: 'Its `id` in the list.' }) }),
    responses: {
      200: { description: 'The dead letter.', content: { 'application/json': deadLetterResponse } },
    },
    problems: ['not-found'],
    async handle({ params }) {
      const deadLetter = await deadLetters.find(params.id);
      if (!deadLetter) throw new HttpProblem('not-found', `There is no dead letter ${params.id}`);
      return { status: 200, json: deadLetterJson(deadLetter) };
    },
  });

const retryRoute = ({ replay: { deadLetterOperations } }: OperatorServices): Route =>
  route({
    ...common,
    method: 'post',
    path: '/api/v1/dead-letters/retry',
    summary:
      'Retry one dead letter and those behind it, a stream, or all; a stream stops where one fails again',
    body: {
      as: 'json',
      schema: z
        .strictObject({
          ...choice,
          all: z
            .literal(true, { error: 'must be true' })
            .optional()
            .meta({ description: 'All waiting dead letters.' }),
        })
        .meta({ oneOf: [...oneChoice, onlyWith(['all'], 'id', 'stream')] }),
    },
    responses: {
      200: {
        description: 'The outcome for each stream.',
        content: { 'application/json': retriedAnswer },
      },
    },
    problems: ['replay-refused'],
    async handle({ body }) {
      const streams: Retried[] = [];
      for (const one of choicesOf(body))
        for await (const stream of deadLetterOperations.retry(one)) streams.push(stream);
      return { status: 200, json: { streams } };
    },
  });

const discardRoute = ({ replay: { deadLetterOperations } }: OperatorServices): Route =>
  route({
    ...common,
    method: 'post',
    path: '/api/v1/dead-letters/discard',
    summary: 'Discard one dead letter or all of a stream; the ledger still counts them as dead-lettered',
    body: {
      as: 'json',
      schema: z
        .strictObject({
          ...choice,
          reason: text(500).meta({ description: 'The reason, for the audit trail.' }),
        })
        .meta({ oneOf: oneChoice }),
    },
    responses: {
      200: {
        description: 'Discarded.',
        content: { 'application/json': z.strictObject({ discarded: z.int() }) },
      },
    },
    problems: ['replay-refused'],
    async handle({ body: { reason, ...chosen }, context }) {
      let discarded = 0;
      for (const one of choicesOf(chosen)) {
        if (!('id' in one) && !('stream' in one)) throw whichOne();
        discarded += await deadLetterOperations.discard(one, { by: context.caller.actor, reason });
      }
      return { status: 200, json: { discarded } };
    },
  });

type Chosen = {
  readonly id?: number | undefined;
  readonly projection?: ProjectionName | undefined;
  readonly stream?: string | undefined;
  readonly all?: true | undefined;
};

function choicesOf({ id: one, projection: name, stream, all }: Chosen): readonly DeadLetterSelector[] {
  if ([one, stream, all].filter((given) => given !== undefined).length !== 1) throw whichOne();
  if (one !== undefined) return [{ id: one }];
  if (stream === undefined) return (name ? [name] : projectionNames).map((each) => ({ projection: each }));
  if (name === undefined) throw whichOne();
  return [{ projection: name, stream }];
}

const whichOne = () =>
  new HttpProblem('invalid-request', 'body: must have one of: id; stream with projection; all', {
    members: {
      errors: [{ in: 'body', path: '', detail: 'must have one of: id; stream with projection; all' }],
    },
  });

const defined = <Given extends object>(given: Given) =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Given]?: NonNullable<Given[Key]>;
  };
