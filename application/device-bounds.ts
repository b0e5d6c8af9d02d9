import type { Labels } from '../domain/device.ts';

/** Devices that a key is confined to: those that fit every one of these. An empty one confines to nothing. */
export type DeviceBounds = {
  /** How the id begins. */
  readonly idPrefix?: string;
  readonly type?: string;
  /** Labels that a device must have, with these values. */
  readonly labels?: Labels;
};

/** What is not given of a device is not looked at. */
export type BoundedDevice = {
  readonly deviceId: string;
  readonly type?: string | undefined;
  readonly labels?: Labels | undefined;
};

export const isWithin = (
  { idPrefix = '', type: wantedType, labels: wantedLabels = {} }: DeviceBounds,
  { deviceId, type, labels }: BoundedDevice,
): boolean =>
  deviceId.startsWith(idPrefix) &&
  (wantedType === undefined || type === undefined || type === wantedType) &&
  (labels === undefined || Object.entries(wantedLabels).every(([key, value]) => labels[key] === value));

/** Whether the id of a device decides alone. */
export const areOfIdsAlone = ({ type, labels = {} }: DeviceBounds): boolean =>
  type === undefined && Object.keys(labels).length === 0;
