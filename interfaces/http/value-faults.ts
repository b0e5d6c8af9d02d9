import { isMetricValue, isTimestamp, readingLimits } from '../../domain/telemetry.ts';
import { isoTimeForm, isoTimes, parseIsoTime } from './iso-time.ts';

const timestampError = `must be ISO 8601, ${isoTimeForm}, or whole epoch milliseconds, of the years 0001 to 9999`;

/** What is nearly an ISO time, and what to do about it. */
const nearly: readonly (readonly [form: RegExp, advice: string])[] = [
  [/^[+-]?\d+(\.\d+)?$/, 'epoch milliseconds are a number, without quotes'],
  [/^\d{4}-\d\d-\d\d$/, 'it has no time: add one, such as T00:00Z'],
  [
    /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?$/,
    'it has no offset from UTC: add Z, or one such as +01:00',
  ],
  [/[+-]\d\d(\d\d)?$/, 'its offset has no colon and minutes: write +00:00 instead of +0000 or +00'],
  [/^\d{4}-\d\d-\d\d[t ]|z$/, 'write a capital T between date and time, and a capital Z'],
  [/T24:00/, 'write 00:00 of the next day instead of 24:00'],
  [/:60(\.\d*)?(Z|[+-])/, 'no minute has a second 60 here: write 59'],
  [/,\d+(Z|[+-])/, 'write a point before the fraction of a second'],
  [/\.\d{10,}/, 'a fraction has at most nine digits'],
  [/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/, 'calendar and clock have no such time'],
];

/** What is wrong with text that `parseIsoTime` does not take, and what would be right. */
export function isoTimeFault(given: string, error = timestampError): string {
  const advice = nearly.find(([form]) => form.test(given))?.[1];
  return advice === undefined ? error : `${error}; ${advice}`;
}

/** Epoch milliseconds of 1970 and 1971 that are most likely epoch seconds, of 1973 and later. */
export const secondsRange = { from: 100_000_000, to: 63_072_000_000 } as const;

export const isOfSeconds = (timestamp: number): boolean =>
  timestamp >= secondsRange.from && timestamp < secondsRange.to;

const iso = isoTimes();

/** What is wrong with the timestamp of a reading; `undefined` when nothing is. */
export function timestampFault(given: unknown, allowOld: boolean): string | undefined {
  if (typeof given === 'string') return parseIsoTime(given) === undefined ? isoTimeFault(given) : undefined;
  if (isTimestamp(given)) {
    if (allowOld || !isOfSeconds(given)) return undefined;
    return `looks like epoch seconds: as milliseconds it is ${iso(given)}; multiply it by 1000; a time that is meant to be that old can be sent as ISO 8601, or with ALLOW_OLD=true at the server`;
  }
  const size = typeof given === 'number' || typeof given === 'bigint' ? Math.abs(Number(given)) : 0;
  if (size > readingLimits.latest)
    return `${timestampError}; it looks like ${size < 1e17 ? 'microseconds: divide it by 1000' : 'nanoseconds: divide it by 1000000'}`;
  if (size > 0) return `${timestampError}; it has a fraction of a millisecond: cut it off`;
  return timestampError;
}

const valueError = `must be a number of at most ${readingLimits.magnitude} either way, true, false, or well-formed text of up to ${readingLimits.textLength} characters`;

/** What is wrong with the value of a metric; `undefined` when nothing is. */
export function metricValueFault(given: unknown): string | undefined {
  if (isMetricValue(given)) return undefined;
  const advice = valueAdvice(given);
  return advice === undefined ? valueError : `${valueError}; ${advice}`;
}

function valueAdvice(given: unknown): string | undefined {
  if (typeof given === 'bigint')
    return `no number here holds the integer ${given} exactly, only those up to ${Number.MAX_SAFE_INTEGER}: send it as text`;
  if (Array.isArray(given)) return 'it is an array: give each element a metric of its own';
  if (typeof given === 'object')
    return 'it is an object: give each member a metric of its own, such as bme.temperature';
  if (typeof given !== 'string') return undefined;
  if (given.length > readingLimits.textLength) return `it has ${given.length} characters`;
  const at = [...given].findIndex((character) => !character.isWellFormed());
  return `its character ${at + 1} is half of a surrogate pair: send the whole pair, or leave it out`;
}
