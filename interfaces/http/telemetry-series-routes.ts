import type { Response } from 'express';
import { z } from 'zod';
import type { Point, TelemetryScope } from '../../application/ports/queries.ts';
import type { Bucket } from '../../application/telemetry/buckets.ts';
import { readingLimits } from '../../domain/telemetry.ts';
import { consistencyParameters, consistent } from './consistency.ts';
import { cursors } from './cursor.ts';
import { deviceFilterOf, deviceFilterParameters } from './device-filter.ts';
import { deviceParams } from './device-schemas.ts';
import { requireRegistered } from './registered.ts';
import { untilGone } from './request-aborted.ts';
import { type Exchange, type Route, route } from './route.ts';
import { formatFor } from './row-format.ts';
import { limited, type RowPage, streamRows, untilFull } from './row-stream.ts';
import { checkSeries, recordedAtParameter, seriesParameters } from './telemetry-parameters.ts';
import { projectionsOf, type TelemetryQueryServices } from './telemetry-query-services.ts';
import { bucketShape, bucketsAnswer, pointShape, pointsAnswer, rowsAnswer } from './telemetry-shapes.ts';

const parameters = consistencyParameters.extend(seriesParameters);
const deviceParameters = parameters.extend(recordedAtParameter);
type Query = z.output<typeof parameters> & { readonly asRecordedAt?: number | undefined };

const answers = {
  200: rowsAnswer('Points, or buckets with `interval`.', z.union([pointsAnswer, bucketsAnswer])),
};

export function telemetrySeriesRoutes({
  history,
  telemetry,
  asRecorded,
  buckets,
  calendar,
  freshness,
  ids,
}: TelemetryQueryServices): readonly Route[] {
  return [
    route({
      method: 'get',
      path: '/api/v1/devices/:deviceId/telemetry',
      scope: 'telemetry:read',
      tag: 'Telemetry',
      summary: 'What one device measured',
      params: deviceParams,
      query: deviceParameters.superRefine(checkSeries),
      answers,
      problems: ['device-not-registered', 'not-acceptable', 'not-yet-projected', 'history-not-read'],
      async handle(exchange) {
        const { deviceId } = exchange.params;
        await requireRegistered(history, deviceId);
        return series(exchange, { deviceId });
      },
    }),

    route({
      method: 'get',
      path: '/api/v1/telemetry',
      scope: 'telemetry:read',
      tag: 'Telemetry',
      summary: 'What all devices that match measured',
      description: 'Points by device id, then by time; buckets by time, over all devices together.',
      query: parameters.extend(deviceFilterParameters.shape).superRefine(checkSeries),
      answers,
      problems: ['not-acceptable', 'not-yet-projected'],
      handle: (exchange) => series(exchange, { devices: deviceFilterOf(exchange.query) }),
    }),
  ];

  async function series(
    { req, res, query }: Pick<Exchange<unknown, Query, unknown, unknown>, 'req' | 'res' | 'query'>,
    scope: TelemetryScope,
  ): Promise<undefined> {
    const format = formatFor(req);
    const headers = await consistent(freshness, projectionsOf(scope), query);
    if (query.interval === undefined)
      return streamRows(res, pointPage(query, scope, res), pointShape('devices' in scope), format, headers);
    const zone = calendar.zone(query.tz ?? 'UTC');
    const shape = bucketShape(query.aggregate ?? ['avg', 'min', 'max', 'sum', 'count'], zone);
    return streamRows(res, bucketPage(query, query.interval, scope), shape, format, headers);
  }

  function pointPage(query: Query, scope: TelemetryScope, res: Response): RowPage<Point> {
    const { metric: metrics, order, limit, asRecordedAt } = query;
    const { from = readingLimits.earliest, to = readingLimits.latest + 1 } = query;
    const cursor = cursors(ids, ['points', scope, metrics, from, to, order, asRecordedAt], pointKey);
    const after = cursor.read(query.cursor);
    const wanted = {
      range: { from, to },
      order,
      limit: limit + 1,
      ...(metrics !== undefined && { metrics }),
      ...(after !== undefined && { after }),
    };
    const points =
      asRecordedAt !== undefined && 'deviceId' in scope
        ? asRecorded({ ...wanted, deviceId: scope.deviceId, recordedAt: asRecordedAt }, untilGone(res))
        : telemetry.points({ ...wanted, scope });
    return limited(points, limit, ({ deviceId, timestamp, metric }) =>
      cursor.write({ deviceId, timestamp, metric }),
    );
  }

  function bucketPage(query: Query, interval: string, scope: TelemetryScope): RowPage<Bucket> {
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
      ...(metrics !== undefined && { metrics }),
      ...(after !== undefined && { after }),
    });
    return untilFull(found, limit, ({ start }) => cursor.write(start));
  }
}

const pointKey = z.object({ deviceId: z.string(), timestamp: z.number(), metric: z.string() });
