import { z } from 'zod';
import { deviceIdForm, isDeviceId } from '../../domain/telemetry.ts';

/** Text for people: trimmed, well-formed Unicode without control characters. */
export const text = (max: number) =>
  z
    .string({ error: `must be text of 1 to ${max} characters` })
    .trim()
    .min(1, { error: 'must not be empty' })
    .max(max, { error: `must have at most ${max} characters` })
    .refine((value) => value.isWellFormed() && !/\p{Cc}/u.test(value), {
      error: 'must be well-formed Unicode without control characters',
    });

const deviceIdError =
  'must be a device id: letters, digits and . _ : - , starting with a letter or digit, at most 128';

export const deviceId = z
  .string({ error: deviceIdError })
  .refine(isDeviceId, { error: deviceIdError })
  .meta({ pattern: deviceIdForm.source, examples: ['boiler-7'] });
