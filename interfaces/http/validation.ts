import { z } from 'zod';
import { deviceIdForm, isDeviceId, isTimestamp } from '../../domain/telemetry.ts';
import { isoTimeForm, isoTimePattern, parseIsoTime } from './iso-time.ts';
import { invalidRequest, maxReportedIssues, type ValidationIssue } from './problems.ts';
import { isoTimeFault } from './value-faults.ts';

/** What `schema` makes of `value`; adds what is wrong with it to `faults` when it is not valid. */
export function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: ValidationIssue['in'],
  issues: ValidationIssue[],
): z.output<Schema> | undefined {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  issues.push(...result.error.issues.flatMap((issue) => issuesOf(issue, where, [])));
  return undefined;
}

export function rejectIssues(issues: readonly ValidationIssue[]): void {
  if (issues.length > 0) throw invalidRequest(issues);
}

/** Every issue of one body value against `schema`; `at` is its path. */
export function explain(
  schema: z.ZodType,
  value: unknown,
  at: readonly PropertyKey[],
): readonly ValidationIssue[] {
  const { error } = schema.safeParse(value, { reportInput: true });
  return error ? error.issues.flatMap((issue) => issuesOf(issue, 'body', at)) : [];
}

function issuesOf(
  issue: z.core.$ZodIssue,
  where: ValidationIssue['in'],
  at: readonly PropertyKey[],
): ValidationIssue[] {
  const path = [...at, ...issue.path];
  if (issue.code === 'unrecognized_keys')
    return issue.keys
      .slice(0, maxReportedIssues)
      .map((key) => ({ in: where, path: pointer([...path, key]), detail: 'is not known here' }));
  const [ofKey] = issue.code === 'invalid_key' ? issue.issues : [];
  const missing = 'input' in issue && issue.input === undefined && issue.code === 'invalid_type';
  const detail = `${missing ? 'is missing: ' : ''}${ofKey?.message ?? issue.message}`;
  return [{ in: where, path: pointer(path), detail }];
}

/** JSON Pointer, RFC 6901. */
const pointer = (path: readonly PropertyKey[]): string =>
  path.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');

/**
 * A map of names to values, as `z.record`, but one that has too many is not looked into, and a member called
 * `__proto__`, which a record drops without a word, is refused like any other name that `key` does not allow.
 */
export function nameMap<Key extends z.core.$ZodRecordKey, Value extends z.ZodType>(
  key: Key,
  value: Value,
  { most, keyError, countError }: { most: number; keyError: string; countError: string },
) {
  return z.preprocess(
    (map, context) => {
      if (typeof map !== 'object' || map === null) return map;
      if (Object.hasOwn(map, '__proto__'))
        context.addIssue({ code: 'custom', path: ['__proto__'], message: keyError, input: map });
      if (Object.keys(map).length > most)
        context.addIssue({ code: 'custom', message: countError, input: map });
      return map;
    },
    z.record(key, value, { error: 'must be an object' }),
  );
}

/** A parameter given once is text, one given several times an array. Throws a problem for bad percent-encoding. */
export function queryOf(url: string): Readonly<Record<string, string | string[]>> {
  const start = url.indexOf('?');
  if (start === -1) return {};
  const query: Record<string, string | string[]> = Object.create(null);
  for (const pair of url.slice(start + 1).split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decoded(equals === -1 ? pair : pair.slice(0, equals));
    const value = equals === -1 ? '' : decoded(pair.slice(equals + 1));
    const known = query[name];
    query[name] = known === undefined ? value : [known, value].flat();
  }
  return query;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    const detail = `${text.slice(0, 80)} must be valid percent-encoding of UTF-8`;
    throw invalidRequest([{ in: 'query', path: '', detail }]);
  }
}

export const integer = (min: number, max: number) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.preprocess(
    (given) => (typeof given === 'string' && /^-?\d{1,16}$/.test(given) ? Number(given) : given),
    z.int({ error }).min(min, { error }).max(max, { error }),
  );
};

/** Several values: the parameter repeated, or one text with commas. */
export const list = <Item extends z.ZodType>(item: Item, error: string) =>
  z.preprocess((given) => [given].flat().flatMap(splitAtCommas), z.array(item).min(1).max(100, { error }));

const splitAtCommas = (given: unknown): unknown => (typeof given === 'string' ? given.split(',') : given);

/** Several values, each of which may contain commas: the parameter repeated. */
export const repeated = <Item extends z.ZodType>(item: Item, error: string) =>
  z.preprocess((given) => [given].flat(), z.array(item).min(1).max(100, { error }));

/** Given once: a parameter that is repeated comes as an array. */
export const single = (error: string) => z.string({ error: `${error}, given once` });

/** In a query a plus sign means a space unless it is percent-encoded, which is easily forgotten. */
export const isoTime = (given: string): number | undefined => parseIsoTime(given.replace(' ', '+'));

const timeError = `must be epoch milliseconds, or ISO 8601: ${isoTimeForm}`;

/** Epoch milliseconds from either way of writing a time. */
export const time = single(timeError)
  .transform((given, context) => {
    const epoch = /^-?\d{1,15}$/.test(given) ? Number(given) : isoTime(given);
    if (epoch === undefined || !isTimestamp(epoch)) {
      context.addIssue({ code: 'custom', message: isoTimeFault(given, timeError), input: given });
      return z.NEVER;
    }
    return epoch;
  })
  .meta({ pattern: `^(?:-[0-9]{1,13}|[0-9]{1,14}|${isoTimePattern})$` });

const controls = '\\u0000-\\u001f\\u007f-\\u009f';
/** Spaces, and characters that take no room. */
const invisible = '\\s\\u00ad\\u200b-\\u200f\\u2060-\\u2064\\ufeff';
const visible = new RegExp(`[^${invisible}]`);

/** Text for people: trimmed, well-formed Unicode without control characters. */
export const text = (max: number) =>
  z
    .string({ error: `must be text of 1 to ${max} characters` })
    .trim()
    .refine((value) => visible.test(value), { error: 'must not be empty' })
    .refine((value) => value.length <= max || [...value].length <= max, {
      error: `must have at most ${max} characters`,
    })
    .refine((value) => value.isWellFormed() && !/\p{Cc}/u.test(value), {
      error: 'must be well-formed Unicode without control characters',
    })
    .meta({ maxLength: max, pattern: `^[^${controls}]*[^${invisible}${controls}][^${controls}]*$` });

const deviceIdError =
  'must be a device id: letters, digits and . _ : - , starting with a letter or digit, at most 128';

export const deviceId = z
  .string({ error: deviceIdError })
  .refine(isDeviceId, { error: deviceIdError })
  .meta({ pattern: deviceIdForm.source, examples: ['boiler-7'] });
