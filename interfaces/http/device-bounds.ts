/**
 * Keys for a part of the fleet. A route says in `boundKeys` how it honours them; one that says nothing refuses them.
 *
 * - `device-in-path`: nothing more to do, the router answers 404 for another `:deviceId`.
 * - `selection`: the handler passes its filter of devices through `confined`.
 * - `each-device`: the handler asks `mayTouch` for each device that the request or the answer is about, or
 *   `requireWithin` where the request says what the device is to become.
 * - `no-device`: the answer says nothing of any device.
 *
 * What pushes to a caller later asks `mayTouch` again for each device, since its labels may change meanwhile.
 */
import {
  areOfIdsAlone,
  type BoundedDevice,
  type DeviceBounds,
  isWithin,
} from '../../application/device-bounds.ts';
import type { DeviceDirectory } from '../../application/ports/device-directory.ts';
import type { DeviceFilter } from '../../application/ports/queries.ts';
import { Rejection } from '../../domain/decider.ts';
import { HttpProblem } from './problems.ts';
import type { Identity, RequestContext } from './request-context.ts';

type Caller = Pick<RequestContext, 'identity'>;

/** `undefined` for callers that may touch every device. */
export const boundsOf = (identity: Identity): DeviceBounds | undefined =>
  identity.is === 'key' ? (identity.key.only ?? undefined) : undefined;

/** Whether the caller may read, change or send for the device. Throws `EventStoreUnavailable`. */
export async function mayTouch(
  directory: Pick<DeviceDirectory, 'find'>,
  { identity }: Caller,
  deviceId: string,
): Promise<boolean> {
  if (identity.is === 'device') return identity.deviceId === deviceId;
  const bounds = boundsOf(identity);
  if (bounds === undefined) return true;
  return (await touchable(directory, bounds, new Set([deviceId]))).has(deviceId);
}

/** Those of the devices that are within the bounds. Throws `EventStoreUnavailable`. */
export async function touchable(
  directory: Pick<DeviceDirectory, 'find'>,
  bounds: DeviceBounds,
  deviceIds: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const fitting = new Set([...deviceIds].filter((deviceId) => isWithin(bounds, { deviceId })));
  if (areOfIdsAlone(bounds) || fitting.size === 0) return fitting;
  const entries = await directory.find(fitting);
  const isTouchable = (deviceId: string) => {
    const details = entries.get(deviceId)?.details;
    return details !== undefined && isWithin(bounds, { deviceId, ...details });
  };
  return new Set([...fitting].filter(isTouchable));
}

/** Throws what is answered for a device that is not registered, when the caller may not touch it. */
export async function requireTouchable(
  directory: Pick<DeviceDirectory, 'find'>,
  caller: Caller,
  deviceId: string,
): Promise<void> {
  if (!(await mayTouch(directory, caller, deviceId)))
    throw new Rejection('DeviceNotRegistered', `Device ${deviceId} is not registered`);
}

/** The devices that the filter matches and the caller may touch. */
export function confined(filter: DeviceFilter, { identity }: Caller): DeviceFilter {
  if (identity.is === 'device')
    throw new HttpProblem('scope-missing', 'A device token is good for one device only');
  const within = boundsOf(identity);
  return within === undefined ? filter : { ...filter, within };
}

/** Throws when the caller would make or leave the device one that it may not touch. */
export function requireWithin({ identity }: Caller, device: BoundedDevice): void {
  const bounds = boundsOf(identity);
  if (bounds !== undefined && !isWithin(bounds, device))
    throw new HttpProblem('outside-key', `The API key is for devices with ${boundsText(bounds)}`, {
      members: { only: bounds },
    });
}

const boundsText = ({ idPrefix, type, labels = {} }: DeviceBounds): string =>
  [
    ...(idPrefix === undefined ? [] : [`an id that begins with ${idPrefix}`]),
    ...(type === undefined ? [] : [`the type ${type}`]),
    ...Object.entries(labels).map(([key, value]) => `the label ${key}=${value}`),
  ].join(' and ');
