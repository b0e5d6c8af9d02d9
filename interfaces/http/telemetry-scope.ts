import type { DeviceHistory } from '../../application/device-history.ts';
import type { TelemetryScope } from '../../application/ports/queries.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import { Rejection } from '../../domain/rejection.ts';

/** The read models an answer about the scope is made of. */
export function projectionsOf(scope: TelemetryScope): readonly ProjectionName[] {
  const filtered = 'devices' in scope && Object.keys(scope.devices).length > 0;
  return filtered ? ['telemetry', 'devices'] : ['telemetry'];
}

/** One that was never registered is not the same as one that never sent. */
export async function requireRegistered(history: DeviceHistory, deviceId: string): Promise<void> {
  if (!(await history.deviceAt(deviceId, 'now'))) throw notRegistered(deviceId);
}

export const notRegistered = (deviceId: string, when = ''): Rejection =>
  new Rejection('DeviceNotRegistered', `Device ${deviceId} is not registered${when}`);
