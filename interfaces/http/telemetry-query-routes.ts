import type { Response } from 'express';
import { z } from 'zod';
import type { DeviceHistory } from '../../application/devices/device-stream.ts';
import type { Calendar } from '../../application/ports/calendar.ts';
import type { DeviceDirectory } from '../../application/ports/device-directory.ts';
import type { Point, TelemetryQueries, TelemetryScope } from '../../application/ports/queries.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { ProgressReader } from '../../application/progress.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import type { TelemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import type { Bucket, TelemetryBuckets } from '../../application/telemetry/buckets.ts';
import { usualAggregates } from '../../domain/rollup.ts';
import { readingLimits } from '../../domain/telemetry.ts';
import { consistencyParameters, consistent } from './consistency.ts';
import { cursors, pageOf } from './cursor.ts';
import { confined } from './device-bounds.ts';
import { deviceFilterOf, deviceFilterParameters, requireRegistered } from './device-query-routes.ts';
import { deviceParams } from './device-schemas.ts';
import type { QuerySlots } from './query-slots.ts';
import { abortOnClose } from './request-context.ts';
import { type Exchange, type Route, route } from './route.ts';
import { firstPage, formatFor, type RowPage, streamRows, wholeBuckets } from './row-stream.ts';
import {
  bucketShape,
  bucketsAnswer,
  checkSeries,
  devicePageParameters,
  metricParameter,
  pointShape,
  pointsAnswer,
  recordedAtParameter,
  rowsAnswer,
  seriesParameters,
} from './telemetry-schemas.ts';
import { deviceId, list } from './validation.ts';

const queryProblems = ['not-acceptable', 'not-yet-projected', 'too-many-queries'] as const;
const deviceProblems = [
  'device-not-registered',
  'device-stream-deleted',
  'device-stream-unreadable',
  ...queryProblems,
] as const;

const parameters = consistencyParameters.extend(seriesParameters);
const deviceParameters = parameters.extend(recordedAtParameter);
type Query = z.output<typeof parameters> & { readonly asRecordedAt?: number | undefined };

const seriesResponses = {
  200: rowsAnswer('Points, or buckets with `interval`.', z.union([pointsAnswer, bucketsAnswer])),
};

export function telemetrySeriesRoutes({
  directory,
  telemetry,
  asRecorded,
  buckets,
  calendar,
  freshness,
  ids,
  slots,
  history,
}: TelemetryQueryServices): readonly Route[] {
  return [
    route({
      method: 'get',
      path: '/api/v1/devices/:deviceId/telemetry',
      scope: 'telemetry:read',
      boundKeys: 'device-in-path',
      tag: 'Telemetry',
      summary: 'Query telemetry of a device',
      params: deviceParams,
      query: deviceParameters.superRefine(checkSeries),
      responses: seriesResponses,
      problems: [...deviceProblems, 'history-not-read'],
      async handle(exchange) {
        const { deviceId } = exchange.params;
        await requireRegistered({ directory, history }, deviceId);
        return series(exchange, { deviceId });
      },
    }),

    route({
      method: 'get',
      path: '/api/v1/telemetry',
      scope: 'telemetry:read',
      boundKeys: 'selection',
      tag: 'Telemetry',
      summary: 'Query telemetry across devices',
      description: 'Points by device id, then by time; buckets by time, over all devices together.',
      query: parameters.extend(deviceFilterParameters.shape).superRefine(checkSeries),
      responses: seriesResponses,
      problems: queryProblems,
      handle: (exchange) => series(exchange, fleet(exchange)),
    }),
  ];

  async function series(
    { req, res, query }: Pick<Exchange<unknown, Query, unknown, unknown>, 'req' | 'res' | 'query'>,
    scope: TelemetryScope,
  ): Promise<undefined> {
    const format = formatFor(req);
    const headers = await consistent(freshness, projectionsOf(scope), query);
    await slots.take(res);
    if (query.interval === undefined)
      return streamRows(res, pointPage(query, scope, res), pointShape('devices' in scope), format, headers);
    const zone = calendar.zone(query.tz ?? 'UTC');
    const shape = bucketShape(query.aggregate ?? usualAggregates, zone);
    return streamRows(res, bucketPage(query, query.interval, scope, res), shape, format, headers);
  }

  function pointPage(query: Query, scope: TelemetryScope, res: Response): RowPage<Point> {
    const { metric: metrics, order, limit, asRecordedAt } = query;
    const { from = readingLimits.earliest, to = readingLimits.latest + 1 } = query;
    const cursor = cursors(ids, ['points', scope, metrics, from, to, order, asRecordedAt], pointKey);
    const after = cursor.read(query.cursor);
    const selection = {
      range: { from, to },
      order,
      limit: limit + 1,
      ...(metrics !== undefined && { metrics }),
      ...(after !== undefined && { after }),
    };
    const points =
      asRecordedAt !== undefined && 'deviceId' in scope
        ? asRecorded({ ...selection, deviceId: scope.deviceId, recordedAt: asRecordedAt }, abortOnClose(res))
        : telemetry.points({ ...selection, scope, signal: abortOnClose(res) });
    return firstPage(points, limit, ({ deviceId, timestamp, metric }) =>
      cursor.write({ deviceId, timestamp, metric }),
    );
  }

  function bucketPage(query: Query, interval: string, scope: TelemetryScope, res: Response): RowPage<Bucket> {
    const { metric: metrics, from, to, order, limit, tz = 'UTC' } = query;
    const cursor = cursors(ids, ['buckets', scope, metrics, from, to, order, interval, tz], z.number());
    const after = cursor.read(query.cursor);
    const found = buckets.buckets({
      scope,
      range: { ...(from !== undefined && { from }), ...(to !== undefined && { to }) },
      interval,
      tz,
      order,
      limit,
      signal: abortOnClose(res),
      ...(metrics !== undefined && { metrics }),
      ...(after !== undefined && { after }),
    });
    return wholeBuckets(found, limit, ({ start }) => cursor.write(start));
  }
}

const pointKey = z.object({ deviceId: z.string(), timestamp: z.number(), metric: z.string() });

const latestParameters = consistencyParameters.extend({ metric: metricParameter });
const fleetLatestParameters = latestParameters.extend({
  deviceId: list(deviceId, 'must be at most 100 devices')
    .optional()
    .meta({ description: 'These devices only: repeated, or with commas. All when absent.' }),
  ...deviceFilterParameters.shape,
  ...devicePageParameters,
});
type LatestQuery = z.output<typeof latestParameters> &
  Partial<Pick<z.output<typeof fleetLatestParameters>, 'limit' | 'cursor'>>;

const latestResponses = { 200: rowsAnswer('The newest point of each metric.', pointsAnswer) };

export function telemetryLatestRoutes({
  directory,
  telemetry,
  freshness,
  ids,
  slots,
  history,
}: Pick<
  TelemetryQueryServices,
  'directory' | 'telemetry' | 'freshness' | 'ids' | 'slots' | 'history'
>): readonly Route[] {
  return [
    route({
      method: 'get',
      path: '/api/v1/devices/:deviceId/telemetry/latest',
      scope: 'telemetry:read',
      boundKeys: 'device-in-path',
      tag: 'Telemetry',
      summary: 'Get the latest point of each metric of a device',
      params: deviceParams,
      query: latestParameters,
      responses: latestResponses,
      problems: deviceProblems,
      async handle(exchange) {
        const { deviceId } = exchange.params;
        await requireRegistered({ directory, history }, deviceId);
        return latest(exchange, { deviceId });
      },
    }),

    route({
      method: 'get',
      path: '/api/v1/telemetry/latest',
      scope: 'telemetry:read',
      boundKeys: 'selection',
      tag: 'Telemetry',
      summary: 'Get the latest points across devices',
      description: 'Ordered by device id. A page holds all rows of a device or none.',
      query: fleetLatestParameters,
      responses: latestResponses,
      problems: queryProblems,
      handle({ query: { deviceId: ids, ...query }, ...exchange }) {
        const filter = { ...deviceFilterOf(query), ...(ids !== undefined && { ids }) };
        return latest({ ...exchange, query }, { devices: confined(filter, exchange.context) });
      },
    }),
  ];

  async function latest(
    { req, res, query }: Pick<Exchange<unknown, LatestQuery, unknown, unknown>, 'req' | 'res' | 'query'>,
    scope: TelemetryScope,
  ): Promise<undefined> {
    const format = formatFor(req);
    const { metric: metrics, limit = 1 } = query;
    const cursor = cursors(ids, ['latest', scope, metrics], z.string());
    const after = cursor.read(query.cursor);
    const headers = await consistent(freshness, projectionsOf(scope), query);
    await slots.take(res);
    const found = await telemetry.latest(scope, {
      limit: limit + 1,
      ...(metrics !== undefined && { metrics }),
      ...(after !== undefined && { after }),
    });
    const page = pageOf(found, limit, ({ deviceId }) => deviceId, cursor);
    const points = page.rows.flatMap(({ deviceId, points }) =>
      points.map((point) => ({ deviceId, ...point })),
    );
    const rows = { rows: once(points), next: () => page.next };
    return streamRows(res, rows, pointShape('devices' in scope), format, headers);
  }
}

async function* once(points: readonly Point[]): AsyncGenerator<readonly Point[]> {
  yield points;
}

type FleetExchange = Pick<
  Exchange<unknown, z.output<typeof deviceFilterParameters>, unknown, unknown>,
  'query' | 'context'
>;

const fleet = ({ query, context }: FleetExchange): TelemetryScope => ({
  devices: confined(deviceFilterOf(query), context),
});

/** What queries of telemetry need. */
export type TelemetryQueryServices = {
  readonly directory: DeviceDirectory;
  readonly telemetry: TelemetryQueries;
  readonly asRecorded: TelemetryAsRecorded;
  readonly buckets: TelemetryBuckets;
  readonly calendar: Calendar;
  readonly freshness: ProgressReader;
  readonly ids: Ids;
  readonly slots: QuerySlots;
  readonly history: DeviceHistory;
};

/** The read models that a response about the scope depends on. */
function projectionsOf(scope: TelemetryScope): readonly ProjectionName[] {
  const filtered = 'devices' in scope && Object.keys(scope.devices).length > 0;
  return filtered ? ['telemetry', 'devices'] : ['telemetry'];
}
