import type { z } from 'zod';
import type { CommandAnswer } from '../../application/devices/device-commands.ts';
import type { Credentials } from '../../application/ports/api-keys.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { DeviceCommand } from '../../domain/device.ts';
import { positioned, type registeredDevice } from './device-answers.ts';
import { newDeviceId, type registration } from './device-schemas.ts';

export type Registration = {
  readonly deviceId: string;
  readonly command: DeviceCommand;
  /** The device with the token made for it: only the request that registered it is told. */
  told(answer: CommandAnswer): z.output<typeof registeredDevice>;
};

export function registrationOf(
  asked: z.output<typeof registration>,
  ids: Ids,
  credentials: Credentials,
  idempotencyKey: string | undefined,
): Registration {
  const { deviceId = newDeviceId(ids, idempotencyKey), issueToken, ...details } = asked;
  const token = issueToken ? credentials.issue('device', deviceId) : undefined;
  return {
    deviceId,
    command: { type: 'RegisterDevice', deviceId, details, ...(token && { tokenHash: token.hash }) },
    told: (answer) => ({
      ...positioned(answer),
      ...(token && { token: answer.repeated ? null : token.secret }),
    }),
  };
}
