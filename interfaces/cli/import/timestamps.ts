import { DateTime } from 'luxon';
import { isTimestamp } from '../../../domain/telemetry.ts';
import { parseIsoTime } from '../../http/iso-time.ts';
import { UsageError } from '../exit-codes.ts';
import { BadValue } from './cells.ts';
import { momentsIn } from './local-time.ts';

/** Epoch milliseconds of a cell. Throws `BadValue`. */
export type TimeReader = (value: unknown) => number;

/**
 * `format` is `auto`, `iso`, `epoch-ms`, `epoch-s` or one of Luxon's; times without an offset are those of the
 * clocks in `zoneName`. Throws `UsageError` for a format or zone that there is none of.
 */
export function timeReader(format: string, zoneName: string): TimeReader {
  const momentOf = momentsIn(zoneName);
  const read = readerOf(format);
  return (value) => {
    const clock = read(typeof value === 'string' ? value.trim() : value);
    const time = clock.isMoment ? clock.at : momentOf(clock.at);
    if (time === undefined)
      throw new BadValue(value, `was never shown by the clocks of ${zoneName}, which went forward then`);
    if (!isTimestamp(time)) throw new BadValue(value, 'must be a time in the years 1 to 9999');
    return time;
  };
}

function readerOf(format: string): (value: unknown) => ClockTime {
  switch (format) {
    case 'auto':
      return (value) => (typeof value === 'number' ? epochTime(value, 1) : commonTime(textOf(value)));
    case 'iso':
      return isoTime;
    case 'epoch-ms':
      return (value) => epochTime(value, 1);
    case 'epoch-s':
      return (value) => epochTime(value, 1000);
    default:
      return customTime(format);
  }
}

function epochTime(value: unknown, milliseconds: number): ClockTime {
  const isNumber =
    typeof value === 'number' || (typeof value === 'string' && /^[+-]?\d+(\.\d+)?$/.test(value));
  if (!isNumber) throw new BadValue(value, 'must be a number that counts from 1970');
  return { at: Math.round(Number(value) * milliseconds), isMoment: true };
}

function isoTime(value: unknown): ClockTime {
  const text = textOf(value);
  if (!/^\d{4}-\d{2}(-\d{2}(T.+)?)?$/.test(text))
    throw new BadValue(text, 'must be ISO 8601, such as 2010-01-31 or 2010-01-31T13:00:00Z');
  return commonTime(text);
}

function customTime(format: string): (value: unknown) => ClockTime {
  const parse = (text: string) => DateTime.fromFormat(text, format, { zone: 'utc', locale: 'en' });
  // A format without the year would read every time as one of this year.
  if (parse(DateTime.utc(2001, 2, 3).setLocale('en').toFormat(format)).year !== 2001)
    throw new UsageError(
      `--time-format must be auto, iso, epoch-ms, epoch-s or a form with the year such as d/M/yyyy, not "${format}"`,
    );
  const isMoment = /[Zz]/.test(format.replace(/'[^']*'/g, ''));
  return (value) => {
    const parsed = parse(textOf(value));
    if (!parsed.isValid) throw new BadValue(value, `must be a time in the form ${format}`);
    return { at: parsed.toMillis(), isMoment };
  };
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new BadValue(value, 'must be a time as text');
  return value;
}

/** What a clock shows, in milliseconds as if it were UTC's; a moment where the text tells its distance from UTC. */
export type ClockTime = { readonly at: number; readonly isMoment: boolean };

const clock = String.raw`(?:(?:T|,? +)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?`;
const offset = String.raw`(?: *(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?$`;
const weekday = `^(?:[a-z]{3,9},? +)?`;
const yearFirst = new RegExp(String.raw`^(\d{4})([-/.])(\d{1,2})(?:\2(\d{1,2}))?${clock}${offset}`, 'i');
const monthFirst = new RegExp(
  String.raw`${weekday}([a-z]{3,9})\.? (\d{1,2}),? +(\d{4})${clock}${offset}`,
  'i',
);
const dayFirst = new RegExp(
  String.raw`${weekday}(\d{1,2})[ -]([a-z]{3,9})\.?[ -](\d{4})${clock}${offset}`,
  'i',
);
const number = /^[+-]?\d+(\.\d+)?$/;
const dayOrMonthFirst = /^\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}/;
/** As seconds, whatever is greater lies beyond the year 9999, so it must be milliseconds. */
const greatestSecond = 253_402_300_799;
const months = [
  ...['january', 'february', 'march', 'april', 'may', 'june', 'july'],
  ...['august', 'september', 'october', 'november', 'december'],
];

/**
 * Reads dates and times that have the year first or the month by name. What can be read in more than one way is
 * refused, not guessed. Throws `BadValue`.
 */
export function commonTime(text: string): ClockTime {
  const moment = parseIsoTime(text);
  if (moment !== undefined) return { at: moment, isMoment: true };
  const local = parseIsoTime(text.length === 10 ? `${text}T00:00Z` : `${text}Z`);
  if (local !== undefined) return { at: local, isMoment: false };
  return looseTime(text) ?? refuse(text);
}

function looseTime(text: string): ClockTime | undefined {
  const byYear = yearFirst.exec(text);
  if (byYear) {
    const [, year, , month, day = '1', ...rest] = byYear;
    return ofParts(text, year, month, day, rest);
  }
  const byMonth = monthFirst.exec(text);
  if (byMonth) {
    const [, name, day, year, ...rest] = byMonth;
    return ofParts(text, year, monthNamed(name), day, rest);
  }
  const byDay = dayFirst.exec(text);
  if (byDay) {
    const [, day, name, year, ...rest] = byDay;
    return ofParts(text, year, monthNamed(name), day, rest);
  }
  if (number.test(text) && Math.abs(Number(text)) > greatestSecond)
    return { at: Math.round(Number(text)), isMoment: true };
  return undefined;
}

function refuse(text: string): never {
  if (number.test(text))
    throw new BadValue(
      text,
      'may be many things: name it, --time-format epoch-s, epoch-ms, yyyyMMdd or yyyy',
    );
  if (dayOrMonthFirst.test(text))
    throw new BadValue(text, 'has no certain order: name it, such as --time-format d/M/yyyy or M/d/yyyy');
  throw new BadValue(text, 'is no form of time known here: ISO 8601 is, and --time-format names any other');
}

function ofParts(
  text: string,
  year = '',
  month = '',
  day = '',
  [hour = '0', minute = '00', second = '00', fraction = '0', zone]: readonly (string | undefined)[],
): ClockTime {
  const date = `${year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}`;
  const time = `${hour.padStart(2, '0')}:${minute}:${second}.${fraction}`;
  const at = parseIsoTime(`${date}T${time}${isoOffset(zone)}`);
  if (at === undefined) throw new BadValue(text, 'must be a time that calendar and clock have');
  return { at, isMoment: zone !== undefined };
}

/** The month's number; none that there is for any other word. */
const monthNamed = (name = ''): string =>
  String(months.findIndex((month) => month.startsWith(name.toLowerCase())) + 1);

function isoOffset(zone: string | undefined): string {
  if (zone === undefined || /^[zug]/i.test(zone)) return 'Z';
  const digits = zone.slice(1).replace(':', '').padEnd(4, '0');
  return `${zone[0]}${digits.slice(0, 2)}:${digits.slice(2)}`;
}
