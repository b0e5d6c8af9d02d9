import { z } from 'zod';
import type { Point, TelemetryScope } from '../../application/ports/queries.ts';
import { consistencyParameters, consistent } from './consistency.ts';
import { cursors, pageOf } from './cursor.ts';
import { deviceFilterOf, deviceFilterParameters } from './device-filter.ts';
import { deviceParams } from './device-schemas.ts';
import { requireRegistered } from './registered.ts';
import { type Exchange, type Route, route } from './route.ts';
import { formatFor } from './row-format.ts';
import { streamRows } from './row-stream.ts';
import { devicePageParameters, metricParameter } from './telemetry-parameters.ts';
import { projectionsOf, type TelemetryQueryServices } from './telemetry-query-services.ts';
import { pointShape, pointsAnswer, rowsAnswer } from './telemetry-shapes.ts';

const parameters = consistencyParameters.extend({ metric: metricParameter });
const fleetParameters = parameters.extend({ ...deviceFilterParameters.shape, ...devicePageParameters });
type Query = z.output<typeof parameters> &
  Partial<Pick<z.output<typeof fleetParameters>, 'limit' | 'cursor'>>;

const answers = { 200: rowsAnswer('The newest point of each metric.', pointsAnswer) };

export function telemetryLatestRoutes({
  history,
  telemetry,
  freshness,
  ids,
}: Pick<TelemetryQueryServices, 'history' | 'telemetry' | 'freshness' | 'ids'>): readonly Route[] {
  return [
    route({
      method: 'get',
      path: '/api/v1/devices/:deviceId/telemetry/latest',
      scope: 'telemetry:read',
      tag: 'Telemetry',
      summary: 'What one device measured last',
      params: deviceParams,
      query: parameters,
      answers,
      problems: ['device-not-registered', 'not-acceptable', 'not-yet-projected'],
      async handle(exchange) {
        const { deviceId } = exchange.params;
        await requireRegistered(history, deviceId);
        return latest(exchange, { deviceId });
      },
    }),

    route({
      method: 'get',
      path: '/api/v1/telemetry/latest',
      scope: 'telemetry:read',
      tag: 'Telemetry',
      summary: 'What each device that matches measured last',
      description: 'By device id. A page holds all of a device or none of it.',
      query: fleetParameters,
      answers,
      problems: ['not-acceptable', 'not-yet-projected'],
      handle: (exchange) => latest(exchange, { devices: deviceFilterOf(exchange.query) }),
    }),
  ];

  async function latest(
    { req, res, query }: Pick<Exchange<unknown, Query, unknown, unknown>, 'req' | 'res' | 'query'>,
    scope: TelemetryScope,
  ): Promise<undefined> {
    const format = formatFor(req);
    const { metric: metrics, limit = 1 } = query;
    const cursor = cursors(ids, ['latest', scope, metrics], z.string());
    const after = cursor.read(query.cursor);
    const headers = await consistent(freshness, projectionsOf(scope), query);
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
