import { z } from 'zod';
import type { DeviceFilter } from '../../application/ports/queries.ts';
import { deviceStatus } from './device-answers.ts';
import { labelKey } from './device-schemas.ts';
import { repeated } from './query-parameters.ts';
import { text } from './text-schemas.ts';

const labelError = 'must be a label as key:value';

/** Query parameters that say which devices are meant. */
export const deviceFilterParameters = z.strictObject({
  status: deviceStatus.optional().meta({ description: 'Devices in this state.' }),
  type: text(64).optional().meta({ description: 'Devices of this type.' }),
  label: repeated(
    z.string({ error: labelError }).transform((given, context) => {
      const [key, value] = splitAt(given, given.indexOf(':'));
      if (labelKey.safeParse(key).success && value.length <= 256) return { key, value };
      context.addIssue({ code: 'custom', message: labelError, input: given });
      return z.NEVER;
    }),
    'must be at most 100 labels',
  )
    .optional()
    .meta({ description: 'Devices with this label, as `key:value`; repeat it to ask for several.' }),
  q: text(200).optional().meta({ description: 'Devices with this in their id or name, whatever the case.' }),
});

export function deviceFilterOf({
  status,
  type,
  label,
  q,
}: z.output<typeof deviceFilterParameters>): DeviceFilter {
  return {
    ...(status !== undefined && { status }),
    ...(type !== undefined && { type }),
    ...(label !== undefined && { labels: label }),
    ...(q !== undefined && { text: q }),
  };
}

const splitAt = (text: string, at: number): [string, string] =>
  at === -1 ? ['', ''] : [text.slice(0, at), text.slice(at + 1)];
