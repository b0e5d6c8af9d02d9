import { z } from 'zod';
import { isHostOrRange } from '../hook-sender.ts';

/** A number in the environment, with its bounds. */
export const wholeNumber = (least: number, most: number) => {
  const error = `must be a whole number from ${least} to ${most}`;
  return z.coerce.number({ error }).int({ error }).min(least, { error }).max(most, { error });
};

const unitMilliseconds = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
export const tolerance = (byDefault: string) =>
  z
    .string()
    .regex(
      /^(forever|[1-9]\d{0,4}[smhd])$/,
      'must be whole seconds, minutes, hours or days such as 90s, 15m, 2h or 1d, or forever',
    )
    .default(byDefault);

/** Of a tolerance such as `15m`. */
export const toleranceMilliseconds = (text: string): number =>
  text === 'forever'
    ? Number.POSITIVE_INFINITY
    : Number(text.slice(0, -1)) * unitMilliseconds[text.at(-1) as keyof typeof unitMilliseconds];

/** As a header carries it. */
export const secret = () =>
  z
    .string()
    .regex(/^[\x21-\x7e]{16,512}$/, 'must be 16 to 512 printable ASCII characters without spaces')
    .optional();
export const onOff = () =>
  z.stringbool({ truthy: ['true'], falsy: ['false'], error: 'must be true or false' }).default(false);
export const file = () => z.string().min(1).optional();
/** As OpenTelemetry has them in a variable: `name=value,…`, values percent-encoded. */
export const pairs = () =>
  z
    .string()
    .regex(/^[^,=]+=[^,]*(,[^,=]+=[^,]*)*$/, 'must be name=value[,name=value…]')
    .refine(isWellEncoded, 'must be well percent-encoded')
    .optional();
const originForm = /^https?:\/\/(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?$/;
/** As browsers send them: without a path, in small letters. */
export const origins = () =>
  z
    .string()
    .default('')
    .transform((text) => text.split(',').filter((one) => one !== ''))
    .refine((all) => all.every((one) => originForm.test(one)), {
      error:
        'must be origins as browsers send them: http(s)://host[:port], in small letters and without a path',
    });
export const hostsOrRanges = () =>
  z
    .string()
    .default('')
    .transform((text) => text.split(',').flatMap((one) => one.trim() || []))
    .refine((all) => all.every(isHostOrRange), {
      error:
        'must be hosts, addresses or CIDR ranges, separated by commas, such as hooks.internal,10.1.0.0/16',
    });
export const url = (...schemes: string[]) =>
  z
    .string()
    .refine((value) => schemes.some((scheme) => value.startsWith(`${scheme}://`)), {
      error: `must start with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
      abort: true,
    })
    // A list of hosts is no URL, and left to the client that takes it.
    .refine((value) => value.includes(',') || URL.canParse(value), {
      error:
        'must be a URL such as scheme://user:password@host:port/name, with @, / and : of a password as %40, %2F and %3A',
    });

function isWellEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
