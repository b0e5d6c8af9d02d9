import { z } from 'zod';
import type {
  BuildTask,
  Operations,
  ProjectionReport,
  ReplayTasks,
} from '../../application/operations/operations.ts';
import { isProjectionName } from '../../application/projections/projection.ts';
import {
  auditAnswer,
  auditJson,
  digestAnswer,
  digestJson,
  projectionAnswer,
  projectionJson,
  startedAnswer,
} from './operation-schemas.ts';
import { HttpProblem } from './problems.ts';
import { abortOnClose } from './request-context.ts';
import { type Route, route } from './route.ts';
import { deviceId, integer, time } from './validation.ts';

const params = z.strictObject({
  name: z.string().meta({ description: 'The name of a projection.', examples: ['telemetry'] }),
});
const throttle = z
  .int({ error: 'must be a whole number of events a second, from 1' })
  .min(1, { error: 'must be a whole number of events a second, from 1' })
  .optional()
  .meta({ description: 'Events a second at most.' });
const one = { description: 'As it is now.', content: { 'application/json': projectionAnswer } };
const started = {
  description: 'Started; `GET /api/v1/projections/{name}` shows its progress.',
  headers: { Location: 'Where to look.' },
  content: { 'application/json': startedAnswer },
};
const common = { tag: 'Operation', scope: 'operate' } as const;

export function projectionRoutes(services: OperatorServices): readonly Route[] {
  return [
    listRoute(services),
    findRoute(services),
    digestRoute(services),
    buildRoute(
      services,
      'rebuild',
      'Build it anew beside the live one, compare, and switch when they are equal',
      z.strictObject({
        throttle,
        deviceId: deviceId.optional().meta({ description: 'This device only, in place.' }),
        keepOlder: z
          .boolean({ error: 'must be true or false' })
          .optional()
          .meta({ description: 'Carry over readings that the log no longer has.' }),
      }),
    ),
    buildRoute(
      services,
      'switch',
      'Make the generation that waits the active one, whatever differs',
      z.strictObject({ throttle }),
    ),
    buildRoute(
      services,
      'rollback',
      'Catch up the generation that was active before, and go back to it',
      z.strictObject({ throttle }),
    ),
    pauseRoute(services, true),
    pauseRoute(services, false),
    dropRoute(services),
  ];
}

const listRoute = ({ replay }: OperatorServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/projections',
    summary: 'List projections with their generations',
    responses: {
      200: {
        description: 'As they are now.',
        content: { 'application/json': z.strictObject({ projections: z.array(projectionAnswer) }) },
      },
    },
    handle: async () => ({
      status: 200,
      json: { projections: (await replay.list()).map(projectionJson) },
    }),
  });

const findRoute = ({ replay }: OperatorServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/projections/:name',
    summary: 'Get a projection and the progress of its rebuild',
    params,
    responses: { 200: one },
    problems: ['not-found'],
    handle: async ({ params: { name } }) => answer(await find(replay, name)),
  });

const digestRoute = ({ tasks }: OperatorServices): Route =>
  route({
    ...common,
    method: 'get',
    path: '/api/v1/projections/:name/digest',
    summary: 'Digest of a generation, to compare two databases',
    params,
    query: z.strictObject({
      generation: integer(1, 1_000_000_000).optional().meta({ description: 'The active one when absent.' }),
    }),
    responses: { 200: { description: 'At one moment.', content: { 'application/json': digestAnswer } } },
    problems: ['not-found', 'replay-refused'],
    async handle({ params: { name }, query: { generation } }) {
      known(name);
      return { status: 200, json: digestJson(await tasks.digest(name, generation)) };
    },
  });

function buildRoute<Body extends z.ZodType<Omit<BuildTask, 'do' | 'projection'>>>(
  { tasks }: OperatorServices,
  action: BuildTask['do'],
  summary: string,
  schema: Body,
): Route {
  return route({
    ...common,
    method: 'post',
    path: `/api/v1/projections/:name/${action}`,
    summary,
    params,
    body: { as: 'json', schema, optional: true },
    responses: { 202: started },
    problems: ['not-found', 'replay-refused', 'rebuild-under-way', 'history-expired'],
    async handle({ params: { name }, body }) {
      known(name);
      const { projection, generation, resumed } = await tasks.start({
        ...body,
        do: action,
        projection: name,
      });
      return {
        status: 202,
        headers: { Location: `/api/v1/projections/${name}` },
        json: { projection, generation, resumed },
      };
    },
  });
}

const pauseRoute = ({ replay }: OperatorServices, paused: boolean): Route =>
  route({
    ...common,
    method: 'post',
    path: `/api/v1/projections/:name/${paused ? 'pause' : 'resume'}`,
    summary: paused ? 'Pause the projection' : 'Resume the projection',
    params,
    body: { as: 'json', schema: z.strictObject({}), optional: true },
    responses: { 200: one },
    problems: ['not-found'],
    async handle({ params: { name } }) {
      known(name);
      return answer(await replay.setPaused(name, paused));
    },
  });

const dropRoute = ({ replay }: OperatorServices): Route =>
  route({
    ...common,
    method: 'post',
    path: '/api/v1/projections/:name/drop',
    summary: 'Drop a generation that is not active',
    params,
    body: {
      as: 'json',
      schema: z.strictObject({
        generation: z
          .int({ error: 'must be the number of a generation' })
          .min(1)
          .meta({ description: 'Its number.' }),
      }),
    },
    responses: { 200: one },
    problems: ['not-found', 'replay-refused', 'rebuild-under-way'],
    async handle({ params: { name }, body: { generation } }) {
      known(name);
      return answer(await replay.drop(name, generation));
    },
  });

async function find(replay: OperatorServices['replay'], name: string): Promise<ProjectionReport> {
  known(name);
  const found = (await replay.list()).find(({ projection }) => projection === name);
  return found ?? unknown(name);
}

const answer = (report: ProjectionReport) => ({ status: 200, json: projectionJson(report) });

function known(name: string): void {
  if (!isProjectionName(name)) unknown(name);
}

function unknown(name: string): never {
  throw new HttpProblem('not-found', `There is no projection named ${name}`);
}

const sampleShare = z
  .string()
  .regex(/^(0?\.\d{0,5}[1-9]\d{0,5}|1(\.0*)?)$/, {
    error: 'must be a share of the devices, above 0 and at most 1',
  })
  .transform(Number);

export const auditRoute = ({ tasks }: OperatorServices): Route =>
  route({
    method: 'get',
    path: '/api/v1/audit',
    scope: 'operate',
    tag: 'Operation',
    summary: 'Audit: recount the log and compare it with the read models',
    description:
      'accepted = stored + duplicate + corrected + deadLettered + late + inFlight, and rows = stored - retracted - expired, for each device and UTC day of arrival. Rollups and newest values are compared with the points. Reads the whole log.',
    query: z.strictObject({
      device: deviceId.optional().meta({ description: 'This device only.' }),
      from: time.optional().meta({ description: 'Days of arrival from the one on in which this is.' }),
      to: time.optional().meta({ description: 'And before this.' }),
      sample: sampleShare
        .optional()
        .meta({ description: 'A share of the devices, chosen at random: 0.01 for one in a hundred.' }),
    }),
    responses: { 200: { description: 'What was found.', content: { 'application/json': auditAnswer } } },
    async handle({ res, query: { device, from, to, sample } }) {
      const found = await tasks.audit({ deviceId: device, from, to, sample }, abortOnClose(res));
      return { status: 200, json: auditJson(found) };
    },
  });

/** Operations on read models: short ones run here, long ones in a worker. */
export type OperatorServices = {
  readonly replay: Pick<Operations, 'list' | 'setPaused' | 'drop' | 'deadLetters' | 'deadLetterOperations'>;
  readonly tasks: ReplayTasks;
};
