import { IANAZone } from 'luxon';
import { UsageError } from '../exit-codes.ts';

const day = 86_400_000;

/**
 * From what clocks in a zone show, in milliseconds as if they were UTC's, to the moment they do. Of two moments
 * that show the same, the first; `undefined` for what they never show. Throws `UsageError`.
 */
export function momentsIn(zoneName: string): (clock: number) => number | undefined {
  const zone = IANAZone.create(zoneName);
  if (!zone.isValid)
    throw new UsageError(`--tz must be a time zone such as America/Los_Angeles or UTC, not "${zoneName}"`);
  if (zoneName.toUpperCase() === 'UTC') return (clock) => clock;

  const offsetAt = (moment: number) => zone.offset(moment) * 60_000;
  // Asking the zone is slow, and most times of a history share their day with the one before.
  let around = { day: Number.NaN, offsets: [0, 0] as [number, number] };
  return (clock) => {
    const today = Math.floor(clock / day);
    if (today !== around.day)
      around = { day: today, offsets: [offsetAt((today - 1) * day), offsetAt((today + 2) * day)] };
    const [before, after] = around.offsets;
    if (before === after) return clock - before;
    const moments = [clock - before, clock - after];
    const shown = moments.filter((moment) => moment + offsetAt(moment) === clock);
    return shown.length > 0 ? Math.min(...shown) : undefined;
  };
}
