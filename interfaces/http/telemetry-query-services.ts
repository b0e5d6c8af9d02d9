import type { DeviceHistory } from '../../application/devices/device-stream.ts';
import type { Calendar } from '../../application/ports/calendar.ts';
import type { TelemetryQueries, TelemetryScope } from '../../application/ports/queries.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { Freshness } from '../../application/progress.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import type { TelemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import type { TelemetryBuckets } from '../../application/telemetry/buckets.ts';

/** What queries of telemetry are answered with. */
export type TelemetryQueryServices = {
  readonly history: DeviceHistory;
  readonly telemetry: TelemetryQueries;
  readonly asRecorded: TelemetryAsRecorded;
  readonly buckets: TelemetryBuckets;
  readonly calendar: Calendar;
  readonly freshness: Freshness;
  readonly ids: Ids;
};

/** The read models an answer about the scope is made of. */
export function projectionsOf(scope: TelemetryScope): readonly ProjectionName[] {
  const filtered = 'devices' in scope && Object.keys(scope.devices).length > 0;
  return filtered ? ['telemetry', 'devices'] : ['telemetry'];
}
