import { parseIsoTime } from '../../http/iso-time.ts';
import { BadValue } from './bad-value.ts';

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
