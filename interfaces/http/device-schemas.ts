import { z } from 'zod';
import type { CommandResult } from '../../application/devices/device-commands.ts';
import { positionToken } from '../../application/ports/event-source.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { ResponseSpec, RouteResponse } from './route.ts';
import { deviceId, nameMap, text } from './validation.ts';

const isoTime = (description: string) =>
  z.iso.datetime().meta({ description: `${description}, ISO 8601, UTC.` });

export const deviceStatus = z.enum(['active', 'suspended', 'decommissioned', 'erased'], {
  error: 'must be active, suspended, decommissioned or erased',
});

export const device = z
  .strictObject({
    deviceId,
    name: z.string(),
    type: z.string(),
    labels: z.record(z.string(), z.string()),
    status: deviceStatus,
    revision: z.int().min(0).meta({ description: 'Counts the changes since registration, which is 0.' }),
    registeredAt: isoTime('When it was registered'),
    updatedAt: isoTime('When it last changed'),
  })
  .meta({ id: 'Device' });

export const positionedDevice = device
  .extend({
    position: z.string().meta({
      description: 'Position of the last change; pass it to a query as `waitFor`.',
      examples: ['devices:0:42'],
    }),
  })
  .meta({ id: 'PositionedDevice' });

export const deviceToken = z.string().meta({
  description: 'What the device sends as `Authorization: Bearer …` with its readings. Shown only here.',
});

export const registeredDevice = positionedDevice
  .extend({
    token: deviceToken.nullable().optional().meta({
      description:
        'When `issueToken` asked for it: shown only to the request that registered the device; null when that request is repeated.',
    }),
  })
  .meta({ id: 'RegisteredDevice' });

export const historyEntrySchema = z
  .strictObject({
    deviceId,
    revision: z.int().min(0),
    event: z.string().meta({ examples: ['DeviceSuspended'] }),
    changes: z.array(
      z.strictObject({
        field: z.enum(['name', 'type', 'labels', 'status']),
        from: z.unknown().meta({ description: 'Text, labels, or null where there was nothing.' }),
        to: z.unknown().meta({ description: 'Text or labels.' }),
      }),
    ),
    reason: z.string().nullable(),
    actor: z.string().meta({ description: 'Who did it.' }),
    at: isoTime('When it was done'),
    correlationId: z.string(),
    causationId: z.string().meta({ description: 'The command that did it.' }),
    eventId: z.string(),
  })
  .meta({ id: 'HistoryEntry' });

export const deviceAnswer = (
  description: string,
  headers: Record<string, string> = {},
  shape: z.ZodType = positionedDevice,
): ResponseSpec => ({
  description,
  content: { 'application/json': shape },
  headers: { ETag: 'The revision of the device, in quotes.', ...headers },
});

type Positioned = Pick<CommandResult, 'device' | 'position'>;

/** The store of devices is one log whatever holds it. */
export const devicePosition = (position: string): string =>
  positionToken('devices', { partition: 0, position });

export function positioned({ device, position }: Positioned): z.output<typeof positionedDevice> {
  const { deviceId, ...others } = device;
  return { deviceId, ...others, position: devicePosition(position) };
}

export const respondWithDevice = (result: Positioned): RouteResponse => ({
  status: 200,
  headers: { ETag: etag(result.device.revision) },
  json: positioned(result),
});

export const etag = (revision: number): string => `"${revision}"`;

/** A device id has no character that an address would have to escape. */
export const deviceAddress = (deviceId: string): string => `/api/v1/devices/${deviceId}`;

const labelKeyError =
  'must be a label key: letters, digits and . _ - , starting with a small letter or digit, at most 63';
export const labelKey = z.string().regex(/^[a-z0-9][a-zA-Z0-9._-]{0,62}$/, { error: labelKeyError });

const most = 32;
const labels = nameMap(labelKey, text(256), {
  most,
  keyError: labelKeyError,
  countError: `must have at most ${most} labels`,
}).meta({
  description: `Up to ${most} labels: keys of up to 63 characters, values of up to 256.`,
  examples: [{ site: 'basement' }],
  maxProperties: most,
});

const details = {
  name: text(200).meta({ description: 'What people call the device.', examples: ['Boiler 7'] }),
  type: text(64).meta({ description: 'What kind of device it is.', examples: ['boiler'] }),
};

export const registration = z.strictObject({
  deviceId: deviceId.optional().meta({
    description: 'Made by the server when absent: a UUID, the same for the same `Idempotency-Key`.',
  }),
  ...details,
  labels: labels.default({}),
  issueToken: z
    .boolean({ error: 'must be true or false' })
    .optional()
    .meta({ description: 'Return a device token for sending readings; it is shown only in this response.' }),
});

/** The same key of the same caller means the same request, so it must derive the same device id. */
export const newDeviceId = (ids: Ids, actor: string, idempotencyKey: string | undefined): string =>
  idempotencyKey === undefined ? ids.uuidV7() : ids.uuidV5('device', actor, idempotencyKey);

export const changes = z
  .strictObject({
    name: details.name.optional(),
    type: details.type.optional(),
    labels: labels.optional().meta({ description: 'Replaces all labels there were.' }),
  })
  .refine((given) => Object.keys(given).length > 0, { error: 'must have at least one of name, type, labels' })
  .meta({ minProperties: 1 });

export const erasure = z.strictObject({
  reason: text(500).meta({
    description: 'The reason. It is stored permanently: no personal data.',
    examples: ['Asked for by its owner'],
  }),
});

export const reason = z.strictObject({
  reason: text(500).meta({
    description: 'The reason, shown in the history.',
    examples: ['Sensor drifts'],
  }),
});

export const deviceParams = z.strictObject({
  deviceId: deviceId.meta({ description: 'The id the device was registered with.' }),
});

export const registrationHeaders = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/, { error: 'must be 1 to 255 printable ASCII characters' })
    .optional()
    .meta({
      description:
        'The same key of the same caller with the same request returns the same response, without an expiry. A refusal is not remembered.',
    }),
});

const ifMatchError = 'must be * or the one ETag the device is expected to have, such as "3"';

export const commandHeaders = registrationHeaders.extend({
  'if-match': z
    .string()
    // A proxy that compresses answers weakens their ETags; a revision is as exact in a weak one.
    .regex(/^(\*|(W\/)?"(0|[1-9][0-9]{0,14})")$/, { error: ifMatchError })
    .transform((given) => (given === '*' ? undefined : Number(given.replace(/[W/"]/g, ''))))
    .optional()
    .meta({ description: 'Refuse with 412 unless the device has this `ETag`.', examples: ['"3"'] }),
});
