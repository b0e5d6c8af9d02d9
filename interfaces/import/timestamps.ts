import { DateTime } from 'luxon';
import { isTimestamp } from '../../domain/telemetry.ts';
import { parseIsoTime } from '../http/iso-time.ts';
import { InvalidCell } from './cells.ts';
import { type EpochUnit, epochFormats, epochMilliseconds, isEpoch, unitOf } from './epochs.ts';
import { momentsIn, type RepeatedHours } from './local-time.ts';
import { UnusableInput } from './unusable-input.ts';

/** What a clock shows, in milliseconds as if it were UTC's; a moment where the text tells its distance from UTC. */
type ClockTime = {
  readonly at: number;
  readonly isMoment: boolean;
  /** A day without a time: it begins when its clocks first show midnight. */
  readonly isDay?: boolean;
};

/** Throws `InvalidCell`. */
export type ClockReader = (value: unknown) => ClockTime;

export type TimeOptions = {
  /** `auto`, `iso`, `epoch-s`, `epoch-ms`, `epoch-us`, `epoch-ns` or one of Luxon's. */
  readonly format: string;
  /** Whose clocks show the times that come without an offset. */
  readonly zone: string;
  /** What the numbers of `auto` count, as the whole file shows; they are refused when absent. */
  readonly epoch?: EpochUnit | undefined;
};

/** Epoch milliseconds of a cell of one series. Throws `InvalidCell`. */
export type TimeReader = (value: unknown, series: string) => number;

/** Throws `UnusableInput` for a format or zone that there is none of. */
export function timeReader({ format, zone, epoch }: TimeOptions, repeated?: RepeatedHours): TimeReader {
  const momentsOf = momentsIn(zone);
  const read = clockReader(format, epoch);
  return (value, series) => {
    const clock = read(value);
    const time = clock.isMoment ? clock.at : momentOf(value, clock, series);
    if (!isTimestamp(time)) throw new InvalidCell(value, 'must be a time in the years 1 to 9999');
    return time;
  };

  function momentOf(value: unknown, { at, isDay }: ClockTime, series: string): number {
    const moments = momentsOf(at);
    const [first, second] = moments;
    if (first === undefined)
      throw new InvalidCell(value, `was never shown by the clocks of ${zone}, which went forward then`);
    const pass = repeated?.pass(series, at, second !== undefined);
    if (second === undefined || isDay) return first;
    if (pass !== undefined) return moments[pass] as number;
    throw new InvalidCell(
      value,
      `was shown twice by the clocks of ${zone}, which went back then, and the order of the file does not tell which is meant: add the offset from UTC`,
    );
  }
}

/** Throws `UnusableInput` for a format that there is none of. */
export function clockReader(format: string, epoch: EpochUnit | undefined): ClockReader {
  const unit = epochFormats.get(format);
  if (unit !== undefined) return (value) => epochTime(value, unit);
  if (format === 'auto')
    return (value) => {
      if (!isEpoch(value)) return commonTime(textOf(value));
      if (epoch === undefined || unitOf(value) !== epoch) return refuseNumber(value);
      return epochTime(value, epoch);
    };
  if (format === 'iso') return isoTime;
  return customTime(format);
}

function epochTime(value: unknown, unit: EpochUnit): ClockTime {
  const at = epochMilliseconds(value, unit);
  if (at === undefined) throw new InvalidCell(value, 'must be a number that counts from 1970');
  if (Number.isNaN(at)) throw new InvalidCell(value, 'must be whole milliseconds');
  return { at, isMoment: true };
}

function isoTime(value: unknown): ClockTime {
  const text = textOf(value);
  if (!/^\d{4}-\d{2}(-\d{2}(T.+)?)?$/.test(text))
    throw new InvalidCell(value, 'must be ISO 8601, such as 2010-01-31 or 2010-01-31T13:00:00Z');
  return commonTime(text);
}

function customTime(format: string): ClockReader {
  const parse = (text: string) => DateTime.fromFormat(text, format, { zone: 'utc', locale: 'en' });
  // A format without the year would read every time as one of this year.
  if (parse(DateTime.utc(2001, 2, 3).setLocale('en').toFormat(format)).year !== 2001)
    throw new UnusableInput(
      `--time-format must be auto, iso, epoch-s, epoch-ms, epoch-us, epoch-ns or a form with the year such as d/M/yyyy, not "${format}"`,
    );
  const tokens = format.replace(/'[^']*'/g, '');
  const isMoment = /[Zz]/.test(tokens);
  const isDay = !/[HhTtFfq]/.test(tokens);
  return (value) => {
    const parsed = parse(textOf(value));
    if (!parsed.isValid) throw new InvalidCell(value, `must be a time in the form ${format}`);
    return { at: parsed.toMillis(), isMoment, isDay };
  };
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value.trim();
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  throw new InvalidCell(value, 'must be a time');
}

const meridiem = String.raw`(?: ?([ap])\.?m\.?)?`;
const clock = String.raw`(?:(?:T|,? +)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?${meridiem})?`;
const offset = String.raw`(?: *(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?$`;
const weekday = `^(?:[a-z]{3,9},? +)?`;
const yearFirst = new RegExp(String.raw`^(\d{4})([-/.])(\d{1,2})(?:\2(\d{1,2}))?${clock}${offset}`, 'i');
const basic = new RegExp(
  String.raw`^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(?:(\d{2})(?:[.,](\d{1,9}))?)?()${offset}`,
  'i',
);
const monthFirst = new RegExp(
  String.raw`${weekday}([a-z]{3,9})\.? (\d{1,2}),? +(\d{4})${clock}${offset}`,
  'i',
);
const dayFirst = new RegExp(
  String.raw`${weekday}(\d{1,2})[ -]([a-z]{3,9})\.?[ -](\d{4})${clock}${offset}`,
  'i',
);
const dayOrMonthFirst = /^\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}/;
const months = [
  ...['january', 'february', 'march', 'april', 'may', 'june', 'july'],
  ...['august', 'september', 'october', 'november', 'december'],
];

/**
 * Reads dates and times that have the year first or the month by name. What can be read in more than one way is
 * refused, not guessed. Throws `InvalidCell`.
 */
function commonTime(text: string): ClockTime {
  const moment = parseIsoTime(text);
  if (moment !== undefined) return { at: moment, isMoment: true };
  const isDay = text.length === 10;
  const local = parseIsoTime(isDay ? `${text}T00:00Z` : `${text}Z`);
  if (local !== undefined) return { at: local, isMoment: false, isDay };
  return looseTime(text) ?? refuseText(text);
}

function looseTime(text: string): ClockTime | undefined {
  const byYear = yearFirst.exec(text);
  if (byYear) {
    const [, year, , month, day = '1', ...rest] = byYear;
    return ofParts(text, year, month, day, rest);
  }
  const inBasicForm = basic.exec(text);
  if (inBasicForm) {
    const [, year, month, day, ...rest] = inBasicForm;
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
  return undefined;
}

function refuseNumber(value: unknown): never {
  throw new InvalidCell(
    value,
    'may be many things: name it, --time-format epoch-s, epoch-ms, epoch-us, epoch-ns, yyyyMMdd, yyyyMMddHHmm or yyyy',
  );
}

function refuseText(text: string): never {
  if (text === '') throw new InvalidCell(text, 'must be a time');
  if (dayOrMonthFirst.test(text))
    throw new InvalidCell(text, 'has no certain order: name it, such as --time-format d/M/yyyy or M/d/yyyy');
  throw new InvalidCell(
    text,
    'is no form of time known here: ISO 8601 is, and --time-format names any other',
  );
}

function ofParts(
  text: string,
  year = '',
  month = '',
  day = '',
  [given, minute = '00', second = '00', fraction = '0', half, zone]: readonly (string | undefined)[],
): ClockTime {
  const date = `${year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}`;
  const hour = half ? hourOf(given, half) : Number(given ?? 0);
  // ISO 8601 ends a day at 24:00, where the next one begins.
  const isEndOfDay = hour === 24 && Number(`${minute}${second}${fraction}`) === 0 && !half;
  const time = `${String(isEndOfDay ? 0 : hour).padStart(2, '0')}:${minute}:${second}.${fraction}`;
  const at = parseIsoTime(`${date}T${time}${isoOffset(zone)}`);
  if (at === undefined) throw new InvalidCell(text, 'must be a time that calendar and clock have');
  return {
    at: isEndOfDay ? at + 86_400_000 : at,
    isMoment: zone !== undefined,
    isDay: given === undefined,
  };
}

/** Of the day, of one from 1 to 12 in its first or second half; none that there is for any other. */
function hourOf(given: string | undefined, half: string): number {
  const hour = Number(given);
  if (!(hour >= 1 && hour <= 12)) return Number.NaN;
  return (hour % 12) + (half.toLowerCase() === 'p' ? 12 : 0);
}

/** The month's number; none that there is for any other word. */
const monthNamed = (name = ''): string =>
  String(months.findIndex((month) => month.startsWith(name.toLowerCase())) + 1);

function isoOffset(zone: string | undefined): string {
  if (zone === undefined || /^[zug]/i.test(zone)) return 'Z';
  const digits = zone.slice(1).replace(':', '').padEnd(4, '0');
  return `${zone[0]}${digits.slice(0, 2)}:${digits.slice(2)}`;
}
