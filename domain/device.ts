import { type Decider, Rejection } from './decider.ts';

export type Labels = Readonly<Record<string, string>>;

/** What an operator may say of a device and change later. */
export type DeviceDetails = { readonly name: string; readonly type: string; readonly labels: Labels };

// Type names and field names below are stored for ever. Add; never rename.
export type DeviceEvent =
  | { readonly type: 'DeviceRegistered'; readonly data: { readonly deviceId: string } & DeviceDetails }
  | {
      readonly type: 'DeviceDetailsChanged';
      readonly data: { readonly deviceId: string } & Partial<DeviceDetails>;
    }
  | {
      readonly type: 'DeviceSuspended';
      readonly data: { readonly deviceId: string; readonly reason: string };
    }
  | { readonly type: 'DeviceReinstated'; readonly data: { readonly deviceId: string } }
  | {
      readonly type: 'DeviceDecommissioned';
      readonly data: { readonly deviceId: string; readonly reason: string };
    }
  | {
      readonly type: 'DeviceTokenIssued';
      /** SHA-256 of the token in hexadecimal: the token itself is not stored. */
      readonly data: { readonly deviceId: string; readonly tokenHash: string };
    }
  | {
      /** From here on nothing is known of the device but what this says: what came before it is not read any more. */
      readonly type: 'DeviceErased';
      readonly data: { readonly deviceId: string; readonly type: string; readonly reason: string };
    };

export type DeviceCommand =
  | {
      readonly type: 'RegisterDevice';
      readonly deviceId: string;
      readonly details: DeviceDetails;
      /** Of the token the device is given along with its registration. */
      readonly tokenHash?: string;
    }
  | {
      readonly type: 'ChangeDeviceDetails';
      readonly deviceId: string;
      readonly changes: Partial<DeviceDetails>;
    }
  | { readonly type: 'SuspendDevice'; readonly deviceId: string; readonly reason: string }
  | { readonly type: 'ReinstateDevice'; readonly deviceId: string }
  | { readonly type: 'DecommissionDevice'; readonly deviceId: string; readonly reason: string }
  | { readonly type: 'IssueDeviceToken'; readonly deviceId: string; readonly tokenHash: string }
  | { readonly type: 'EraseDevice'; readonly deviceId: string; readonly reason: string };

export type DeviceStatus = 'active' | 'suspended' | 'decommissioned' | 'erased';

export type RegisteredDevice = DeviceDetails & { readonly status: DeviceStatus };

export type Device =
  | { readonly status: 'unregistered' }
  | (RegisteredDevice & { /** Of the one token that is good now. */ readonly tokenHash?: string });

/** A device's life: registered once, suspended and reinstated at will, decommissioned for good, perhaps erased. */
export const deviceDecider: Decider<Device, DeviceCommand, DeviceEvent> = {
  initial: { status: 'unregistered' },
  decide,
  evolve,
};

/** Replaces erased personal data. */
export const erasedName = 'erased';

export const deviceStream = (deviceId: string): string => `device-${deviceId}`;

/** The device that the stream of a device is of. */
export const deviceIdIn = (stream: string): string => stream.slice(deviceStream('').length);

function decide(command: DeviceCommand, device: Device): readonly DeviceEvent[] {
  const { deviceId } = command;
  switch (command.type) {
    case 'RegisterDevice': {
      if (device.status !== 'unregistered')
        throw new Rejection('DeviceAlreadyRegistered', `Device ${deviceId} is already registered`);
      const { name, type, labels } = command.details;
      const registered = { type: 'DeviceRegistered', data: { deviceId, name, type, labels } } as const;
      return command.tokenHash === undefined
        ? [registered]
        : [registered, tokenIssued(deviceId, command.tokenHash)];
    }

    case 'ChangeDeviceDetails': {
      const changes = realChanges(inService(device, deviceId), command.changes);
      if (Object.keys(changes).length === 0) return [];
      return [{ type: 'DeviceDetailsChanged', data: { deviceId, ...changes } }];
    }

    case 'SuspendDevice': {
      if (inService(device, deviceId).status === 'suspended') return [];
      return [{ type: 'DeviceSuspended', data: { deviceId, reason: command.reason } }];
    }

    case 'ReinstateDevice': {
      if (inService(device, deviceId).status === 'active') return [];
      return [{ type: 'DeviceReinstated', data: { deviceId } }];
    }

    case 'DecommissionDevice': {
      if (device.status === 'decommissioned' || device.status === 'erased') return [];
      inService(device, deviceId);
      return [{ type: 'DeviceDecommissioned', data: { deviceId, reason: command.reason } }];
    }

    case 'IssueDeviceToken': {
      inService(device, deviceId);
      return [tokenIssued(deviceId, command.tokenHash)];
    }

    case 'EraseDevice': {
      if (device.status === 'erased') return [];
      const { type } = registered(device, deviceId);
      return [{ type: 'DeviceErased', data: { deviceId, type, reason: command.reason } }];
    }
  }
}

const tokenIssued = (deviceId: string, tokenHash: string): DeviceEvent => ({
  type: 'DeviceTokenIssued',
  data: { deviceId, tokenHash },
});

function evolve(device: Device, event: DeviceEvent): Device {
  if (event.type === 'DeviceRegistered') {
    const { name, type, labels } = event.data;
    return { status: 'active', name, type, labels };
  }
  if (event.type === 'DeviceErased')
    return { status: 'erased', name: erasedName, type: event.data.type, labels: {} };
  if (device.status === 'unregistered')
    throw new Error(`${event.type} of device ${event.data.deviceId} comes before its registration`);
  switch (event.type) {
    case 'DeviceDetailsChanged': {
      const { deviceId: _, ...changes } = event.data;
      return { ...device, ...changes };
    }
    case 'DeviceSuspended':
      return { ...device, status: 'suspended' };
    case 'DeviceReinstated':
      return { ...device, status: 'active' };
    case 'DeviceDecommissioned':
      return { ...device, status: 'decommissioned' };
    case 'DeviceTokenIssued':
      return { ...device, tokenHash: event.data.tokenHash };
  }
}

/** The device's state when it is registered and not decommissioned; the rule that forbids otherwise. */
function inService(device: Device, deviceId: string): RegisteredDevice {
  const known = registered(device, deviceId);
  if (known.status === 'decommissioned' || known.status === 'erased')
    throw new Rejection('DeviceIsDecommissioned', `Device ${deviceId} is ${known.status}, which is final`);
  return known;
}

function registered(device: Device, deviceId: string): RegisteredDevice {
  if (device.status !== 'unregistered') return device;
  throw new Rejection('DeviceNotRegistered', `Device ${deviceId} is not registered`);
}

function realChanges(device: DeviceDetails, requested: Partial<DeviceDetails>): Partial<DeviceDetails> {
  return {
    ...(requested.name !== undefined && requested.name !== device.name && { name: requested.name }),
    ...(requested.type !== undefined && requested.type !== device.type && { type: requested.type }),
    ...(requested.labels !== undefined &&
      !sameLabels(requested.labels, device.labels) && { labels: requested.labels }),
  };
}

export function sameLabels(a: Labels, b: Labels): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
