import type { DeviceHistory } from '../../application/devices/device-stream.ts';
import { Rejection } from '../../domain/decider.ts';

/** A device that was never registered is not the same as one that has nothing to tell. */
export async function requireRegistered(history: DeviceHistory, deviceId: string): Promise<void> {
  if (!(await history.deviceAt(deviceId, 'now'))) throw notRegistered(deviceId);
}

export const notRegistered = (deviceId: string, when = ''): Rejection =>
  new Rejection('DeviceNotRegistered', `Device ${deviceId} is not registered${when}`);
