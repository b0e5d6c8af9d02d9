import type { DeviceFilter, Point, PointKey, TelemetryScope } from '../../../application/ports/queries.ts';
import { type MetricValue, readingLimits } from '../../../domain/telemetry.ts';
import type { Session } from '../../composition/application.ts';
import type { ApiClient } from '../api-client.ts';
import { Refused } from '../exit-codes.ts';

/** What is exported: some devices by name, or all that the filter matches. */
export type ExportQuery = {
  readonly devices: readonly string[];
  readonly filter: DeviceFilter;
  /** All when empty. */
  readonly metrics: readonly string[];
  /** Epoch milliseconds, `from` inclusive, `to` exclusive; no bound where absent. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
};

/** Where an export stands: in which of its scopes, and after what of it; at its start when absent. */
export type ExportPlace = { readonly scope: number; readonly after?: string };

type PointPage = { readonly points: readonly Point[]; readonly place: ExportPlace };

/** Points by device, then time, then metric, from a place on. */
export type PointSource = {
  readonly name: string;
  pages(query: ExportQuery, from: ExportPlace | undefined): AsyncIterable<PointPage>;
};

/** Points, and after what the next ones come; `null` after the last. */
type ScopePages = (
  scope: TelemetryScope,
  after: string | undefined,
) => AsyncIterable<readonly [points: readonly Point[], next: string | null]>;

async function* pagesOfScopes(
  { devices, filter }: ExportQuery,
  from: ExportPlace | undefined,
  pagesOf: ScopePages,
): AsyncGenerator<PointPage> {
  const scopes: readonly TelemetryScope[] =
    devices.length > 0 ? devices.map((deviceId) => ({ deviceId })) : [{ devices: filter }];
  for (let scope = from?.scope ?? 0; scope < scopes.length; scope += 1) {
    const after = scope === from?.scope ? from.after : undefined;
    for await (const [points, next] of pagesOf(scopes[scope] as TelemetryScope, after))
      yield { points, place: next === null ? { scope: scope + 1 } : { scope, after: next } };
  }
}

/** From the configured read models themselves. */
export const sessionSource = ({ telemetry, devices }: Session, name: string): PointSource => ({
  name,
  pages(query, from) {
    const { metrics } = query;
    return pagesOfScopes(query, from, async function* (scope, after) {
      if ('deviceId' in scope && (await devices.history(scope.deviceId, { limit: 1 })).length === 0)
        throw new Refused(`Device ${scope.deviceId} is not registered`);
      const chunks = telemetry.points({
        scope,
        ...(metrics.length > 0 && { metrics }),
        range: { from: query.from ?? readingLimits.earliest, to: query.to ?? readingLimits.latest + 1 },
        order: 'asc',
        limit: Number.POSITIVE_INFINITY,
        ...(after !== undefined && { after: JSON.parse(after) as PointKey }),
      });
      for await (const points of chunks) yield [points, keyOf(points.at(-1) as Point)] as const;
    });
  },
});

const keyOf = ({ deviceId, timestamp, metric }: Point): string =>
  JSON.stringify({ deviceId, timestamp, metric });

type Answer = {
  readonly points: readonly {
    readonly deviceId?: string;
    readonly timestamp: string;
    readonly metric: string;
    readonly value: MetricValue;
  }[];
  readonly next: string | null;
};

const pageSize = 10_000;

/** From a server's API, a page a request. */
export const serverSource = (client: ApiClient): PointSource => ({
  name: client.url,
  pages: (query, from) =>
    pagesOfScopes(query, from, async function* (scope, after) {
      const path = 'deviceId' in scope ? `/api/v1/devices/${scope.deviceId}/telemetry` : '/api/v1/telemetry';
      const { status, type, labels = [], text } = 'devices' in scope ? scope.devices : {};
      for (let cursor = after; ; ) {
        const { points, next } = await client.get<Answer>(path, {
          ...{ cursor, status, type, q: text, limit: pageSize, from: query.from, to: query.to },
          label: labels.map(({ key, value }) => `${key}:${value}`),
          metric: query.metrics,
        });
        const own = 'deviceId' in scope ? scope.deviceId : '';
        const found = points.map(({ deviceId = own, timestamp, metric, value }) => ({
          ...{ deviceId, timestamp: Date.parse(timestamp), metric, value },
        }));
        yield [found, next] as const;
        if (next === null) return;
        cursor = next;
      }
    }),
});
