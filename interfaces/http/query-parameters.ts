import { z } from 'zod';
import { isTimestamp } from '../../domain/telemetry.ts';
import { isoTimeForm, parseIsoTime } from './iso-time.ts';
import { invalidRequest } from './problems.ts';

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
    (given) => (typeof given === 'string' && /^-?\d{1,15}$/.test(given) ? Number(given) : given),
    z.int({ error }).min(min, { error }).max(max, { error }),
  );
};

/** Several values: the parameter repeated, or one text with commas. */
export const list = <Item extends z.ZodType>(item: Item, error: string) =>
  z.preprocess((given) => [given].flat().flatMap(splitAtCommas), z.array(item).max(100, { error }));

const splitAtCommas = (given: unknown): unknown => (typeof given === 'string' ? given.split(',') : given);

/** Several values, each of which may contain commas: the parameter repeated. */
export const repeated = <Item extends z.ZodType>(item: Item, error: string) =>
  z.preprocess((given) => [given].flat(), z.array(item).max(100, { error }));

/** Given once: a parameter that is repeated comes as an array. */
export const single = (error: string) => z.string({ error: `${error}, given once` });

/** In a query a plus sign stands for a space unless it is percent-encoded, which is easily forgotten. */
export const isoTime = (given: string): number | undefined => parseIsoTime(given.replace(' ', '+'));

const timeError = `must be epoch milliseconds, or ISO 8601: ${isoTimeForm}`;

/** Epoch milliseconds from either way of writing a time. */
export const time = single(timeError).transform((given, context) => {
  const epoch = /^-?\d{1,15}$/.test(given) ? Number(given) : isoTime(given);
  if (epoch === undefined || !isTimestamp(epoch)) {
    context.addIssue({ code: 'custom', message: timeError, input: given });
    return z.NEVER;
  }
  return epoch;
});
