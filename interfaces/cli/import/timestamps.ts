import { DateTime } from 'luxon';
import { isTimestamp } from '../../../domain/telemetry.ts';
import { UsageError } from '../exit-codes.ts';
import { BadValue } from './bad-value.ts';
import { momentsIn } from './local-time.ts';
import { type ClockTime, commonTime } from './time-forms.ts';

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
