import { z } from 'zod';
import type { CommandAnswer } from '../../application/devices/device-commands.ts';
import { positionToken } from '../../application/ports/event-source.ts';
import type { Answer, AnswerSpec } from './route.ts';
import { deviceId } from './text-schemas.ts';

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
      description: 'Where the last change stands in the log; hand it to `waitFor` of a query.',
      examples: ['devices:0:42'],
    }),
  })
  .meta({ id: 'PositionedDevice' });

export const deviceToken = z.string().meta({
  description: 'What the device sends as `Authorization: Bearer …` with its readings. Told only here.',
});

export const registeredDevice = positionedDevice
  .extend({
    token: deviceToken.nullable().optional().meta({
      description:
        'When `issueToken` asked for it: told only to the request that registered the device; null when that request is repeated.',
    }),
  })
  .meta({ id: 'RegisteredDevice' });

export const historyEntry = z
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
): AnswerSpec => ({
  description,
  content: { 'application/json': shape },
  headers: { ETag: 'The revision of the device, in quotes.', ...headers },
});

type Positioned = Pick<CommandAnswer, 'device' | 'position'>;

/** The store of devices is one log whatever holds it. */
export const devicePosition = (position: string): string =>
  positionToken('devices', { partition: 0, position });

export function positioned({ device, position }: Positioned): z.output<typeof positionedDevice> {
  const { deviceId, ...others } = device;
  return { deviceId, ...others, position: devicePosition(position) };
}

export const answerDevice = (answer: Positioned): Answer => ({
  status: 200,
  headers: { ETag: etag(answer.device.revision) },
  json: positioned(answer),
});

export const etag = (revision: number): string => `"${revision}"`;

/** A device id has no character that an address would have to escape. */
export const deviceAddress = (deviceId: string): string => `/api/v1/devices/${deviceId}`;
