import { LRUCache } from 'lru-cache';
import { IANAZone } from 'luxon';
import {
  type Calendar,
  InvalidTimeZone,
  type OffsetSpan,
  type TimeZone,
} from '../application/ports/calendar.ts';

/** No zone ever changed its offset twice within this many milliseconds; a multiple of seconds, as every change is. */
const window = 3 * 24 * 3_600_000;
const second = 1000;

/** Time zones of the IANA database that comes with Node. */
export function luxonCalendar(): Calendar {
  const zones = new LRUCache<string, TimeZone>({ max: 100 });
  return {
    zone(name) {
      const zone = zones.get(name) ?? luxonZone(canonicalName(name));
      zones.set(name, zone);
      return zone;
    },
  };
}

/** One spelling of each name, because Luxon keeps what it learns of a name for ever. */
function canonicalName(name: string): string {
  // Node takes offsets such as +05:30 as well.
  if (!/^[A-Za-z]/.test(name)) throw new InvalidTimeZone(name);
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    throw new InvalidTimeZone(name);
  }
}

/** One span, or the two on either side of a change. */
type Window = readonly [OffsetSpan] | readonly [OffsetSpan, OffsetSpan];

/** Luxon takes microseconds for an offset, so offsets are cached: of 40 years at most. */
function luxonZone(name: string): TimeZone {
  const zone = new IANAZone(name);
  const windows = new LRUCache<number, Window>({ max: 5000 });
  const offsetAt = (instant: number): number => Math.round(zone.offset(instant) * 60 * second);

  return {
    spanAt(instant) {
      const from = Math.floor(instant / window) * window;
      const spans = windows.get(from) ?? windowBetween(from, from + window);
      windows.set(from, spans);
      const [first, second = first] = spans;
      return instant < first.to ? first : second;
    },
  };

  function windowBetween(from: number, to: number): Window {
    const offset = offsetAt(from);
    const later = offsetAt(to);
    if (offset === later) return [{ from, to, offset }];
    let unchanged = from;
    let change = to;
    while (change - unchanged > second) {
      const middle = Math.floor((unchanged + change) / 2 / second) * second;
      if (offsetAt(middle) === offset) unchanged = middle;
      else change = middle;
    }
    if (change === to) return [{ from, to, offset }];
    return [
      { from, to: change, offset },
      { from: change, to, offset: later },
    ];
  }
}
