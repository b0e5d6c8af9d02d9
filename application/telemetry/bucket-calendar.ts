import type { OffsetSpan, TimeZone } from '../ports/calendar.ts';

/** Epoch milliseconds, `start` inclusive, `end` exclusive. */
export type BucketSpan = { readonly start: number; readonly end: number };

/** The bucket an instant lies in. Buckets leave no gap. */
export type BucketAt = (instant: number) => BucketSpan;

export function bucketCalendar(interval: Interval, zone: TimeZone): BucketAt {
  const find = isOnClock(interval)
    ? clockBuckets(minLength(interval), zone)
    : calendarBuckets(interval, zone);
  let last: BucketSpan = { start: 0, end: 0 };
  return (instant) => {
    if (instant < last.start || instant >= last.end) last = find(instant);
    return last;
  };
}

/**
 * A bucket begins where the local clock reaches or skips a multiple of `width` since midnight. When clocks are put
 * back, a bucket no longer than what they are put back by appears twice, and a longer one lasts that much longer;
 * when they are put forward, the bucket they jump out of ends early and the one they jump into begins there.
 */
function clockBuckets(width: number, zone: TimeZone): BucketAt {
  return (instant) => {
    const span = zone.spanAt(instant);
    const wallClock = Math.floor((instant + span.offset) / width) * width;
    return { start: startOf(wallClock, span), end: endOf(wallClock, span) };
  };

  function startOf(wallClock: number, within: OffsetSpan): number {
    let span = within;
    while (wallClock - span.offset <= span.from) {
      const before = zone.spanAt(span.from - 1);
      if (beginsBucket(before, span)) return span.from;
      span = before;
    }
    return wallClock - span.offset;
  }

  function endOf(wallClock: number, within: OffsetSpan): number {
    let span = within;
    while (wallClock + width - span.offset >= span.to) {
      const next = zone.spanAt(span.to);
      if (beginsBucket(span, next)) return span.to;
      span = next;
    }
    return wallClock + width - span.offset;
  }

  function beginsBucket(before: OffsetSpan, span: OffsetSpan): boolean {
    const left = Math.floor((span.from - 1 + before.offset) / width);
    const entered = Math.floor((span.from + span.offset) / width);
    return left !== entered || before.offset - span.offset >= width;
  }
}

/** More than any zone was ever away from UTC. */
const furthestOffset = 16 * 3_600_000;

/**
 * A bucket begins at the first instant at which the calendar shows its first day. Groups of days and weeks are
 * counted from the day and the week of 1970-01-01, months from January, years from year 0; weeks begin on Monday.
 */
function calendarBuckets({ count, unit }: Interval, zone: TimeZone): BucketAt {
  const { numberOf, firstDayOf } = calendarUnits[unit as keyof typeof calendarUnits];

  return (instant) => {
    const today = Math.floor((instant + zone.spanAt(instant).offset) / day);
    let group = Math.floor(numberOf(today) / count);
    let end = startOfGroup(group + 1);
    // Clocks put back over midnight show a day again that the next one has ended.
    while (instant >= end) {
      group += 1;
      end = startOfGroup(group + 1);
    }
    return { start: startOfGroup(group), end };
  };

  function startOfGroup(group: number): number {
    const wallClock = firstDayOf(group * count) * day;
    let span = zone.spanAt(wallClock - furthestOffset);
    while (wallClock - span.offset >= span.to) span = zone.spanAt(span.to);
    return Math.max(wallClock - span.offset, span.from);
  }
}

/** Days, and what they make up, are numbered from 1970-01-01; months and years from year 0. */
const calendarUnits = {
  d: { numberOf: (dayNumber: number) => dayNumber, firstDayOf: (number: number) => number },
  // 1970-01-01 was a Thursday.
  w: {
    numberOf: (dayNumber: number) => Math.floor((dayNumber + 3) / 7),
    firstDayOf: (week: number) => week * 7 - 3,
  },
  mo: { numberOf: monthOf, firstDayOf: firstDayOfMonth },
  y: {
    numberOf: (dayNumber: number) => Math.floor(monthOf(dayNumber) / 12),
    firstDayOf: (year: number) => firstDayOfMonth(year * 12),
  },
} as const;

function monthOf(dayNumber: number): number {
  const date = new Date(dayNumber * day);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

function firstDayOfMonth(month: number): number {
  return new Date(0).setUTCFullYear(0, month, 1) / day;
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** The least time that one bucket of a unit lasts but for changes of the clocks, in milliseconds. */
const leastOf = { m: minute, h: hour, d: day, w: 7 * day, mo: 28 * day, y: 365 * day } as const;

/** `m` and `h` count time on the clock, the others whole days of the calendar. */
type Interval = { readonly count: number; readonly unit: keyof typeof leastOf };

export class InvalidInterval extends Error {
  override readonly name = 'InvalidInterval';

  constructor(interval: string) {
    super(
      `interval must be a whole number of m, h, d, w, mo or y such as 15m, 6h, 1d, 1w, 3mo or 1y, where m and h divide a day and mo divides a year, not "${interval}"`,
    );
  }
}

/** Throws `InvalidInterval`. */
export function parseInterval(text: string): Interval {
  const [, count, unit] = /^([1-9]\d{0,3})(mo|[mhdwy])$/.exec(text) ?? [];
  if (count === undefined || unit === undefined) throw new InvalidInterval(text);
  const interval = { count: Number(count), unit: unit as Interval['unit'] };
  const divides =
    interval.unit === 'mo'
      ? 12 % interval.count === 0
      : !isOnClock(interval) || day % minLength(interval) === 0;
  if (!divides) throw new InvalidInterval(text);
  return interval;
}

export const minLength = ({ count, unit }: Interval): number => count * leastOf[unit];

const isOnClock = ({ unit }: Interval): boolean => unit === 'm' || unit === 'h';
