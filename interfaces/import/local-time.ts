import { FixedOffsetZone, IANAZone, type Zone } from 'luxon';
import { UnusableInput } from './unusable-input.ts';

const day = 86_400_000;

/**
 * From what clocks in a zone show, in milliseconds as if it were UTC's, to the moments they do: one, none for what
 * was skipped, two in order for what was shown twice. Throws `UnusableInput` for a zone that there is none of.
 */
export function momentsIn(zoneName: string): (clock: number) => readonly number[] {
  const zone = zoneNamed(zoneName);
  if (zone.isUniversal) {
    const offset = zone.offset(0) * 60_000;
    return (clock) => [clock - offset];
  }
  const offsetAt = (moment: number) => zone.offset(moment) * 60_000;
  // Asking the zone is slow, and most times of a history share their day with the one before.
  let around = { day: Number.NaN, offsets: [0, 0] as [number, number] };
  return (clock) => {
    const today = Math.floor(clock / day);
    if (today !== around.day)
      around = { day: today, offsets: [offsetAt((today - 1) * day), offsetAt((today + 2) * day)] };
    const [before, after] = around.offsets;
    if (before === after) return [clock - before];
    return [clock - before, clock - after]
      .filter((moment) => moment + offsetAt(moment) === clock)
      .sort((a, b) => a - b);
  };
}

export function isFixed(zoneName: string): boolean {
  return zoneNamed(zoneName).isUniversal;
}

function zoneNamed(name: string): Zone {
  const [, sign, hours, minutes] = /^([+-])(\d{2}):?(\d{2})$/.exec(name) ?? [];
  if (sign !== undefined)
    return FixedOffsetZone.instance((sign === '-' ? -1 : 1) * (60 * Number(hours) + Number(minutes)));
  if (name.toUpperCase() === 'UTC') return FixedOffsetZone.utcInstance;
  const zone = IANAZone.create(name);
  if (zone.isValid) return zone;
  throw new UnusableInput(
    `--tz must be a time zone such as America/Los_Angeles, an offset such as +01:00, or UTC, not "${name}"`,
  );
}

/** Where one series of readings stands in an hour that its clocks showed twice. */
type Passage = {
  last: number;
  /** Of the steps from reading to reading: later, earlier, or not known yet. */
  direction: number;
  /** The day of the repeated hour the series is in, `NaN` outside of one. */
  hour: number;
  stepsForward: number;
  stepsBack: number;
  stepsNowhere: number;
};

/**
 * Distinguishes the two passes of an hour that clocks showed twice by the order of the readings: in the first pass, and in the
 * second after the clock has stepped back once. `observe` all of a file first, then ask for `pass` in the same order.
 */
export class RepeatedHours {
  #passages = new Map<string, Passage>();
  /** By series and day of the hour: the direction in which the file shows both passes. */
  readonly #shown = new Map<string, number>();

  observe(series: string, clock: number, isTwice: boolean): void {
    const passage = this.#passages.get(series);
    if (passage && !Number.isNaN(passage.hour) && (!isTwice || dayOf(clock) !== passage.hour))
      this.#settle(series, passage, clock);
    this.#step(series, clock, isTwice);
  }

  /** Once all was observed: from here on `pass` starts at the beginning again. */
  finish(): void {
    for (const [series, passage] of this.#passages)
      if (!Number.isNaN(passage.hour)) this.#settle(series, passage, Number.NaN);
    this.#passages = new Map();
  }

  /** 0 for the first time the clocks showed it, 1 for the second; `undefined` when the file does not say. */
  pass(series: string, clock: number, isTwice: boolean): 0 | 1 | undefined {
    const passage = this.#step(series, clock, isTwice);
    const direction = isTwice ? this.#shown.get(keyOf(series, passage.hour)) : undefined;
    if (direction === undefined) return undefined;
    const isLater = turns(passage, direction) > 0;
    return isLater === direction > 0 ? 1 : 0;
  }

  #settle(series: string, passage: Passage, next: number): void {
    const direction = passage.direction || Math.sign(next - passage.last) || 0;
    if (direction !== 0 && turns(passage, direction) === 1)
      this.#shown.set(keyOf(series, passage.hour), direction);
  }

  #step(series: string, clock: number, isTwice: boolean): Passage {
    let passage = this.#passages.get(series);
    if (!passage) {
      passage = { last: clock, direction: 0, hour: Number.NaN, ...noSteps };
      this.#passages.set(series, passage);
    }
    const step = clock - passage.last;
    const hour = isTwice ? dayOf(clock) : Number.NaN;
    if (isTwice && hour === passage.hour) {
      if (step > 0) passage.stepsForward += 1;
      else if (step < 0) passage.stepsBack += 1;
      else passage.stepsNowhere += 1;
    } else {
      if (step !== 0) passage.direction = Math.sign(step);
      Object.assign(passage, noSteps, { hour });
    }
    passage.last = clock;
    return passage;
  }
}

const noSteps = { stepsForward: 0, stepsBack: 0, stepsNowhere: 0 };
const dayOf = (clock: number): number => Math.floor(clock / day);
const keyOf = (series: string, hour: number): string => `${hour} ${series}`;

/** How often the clock went against the direction, which it does once when the hour begins again. */
const turns = ({ stepsForward, stepsBack, stepsNowhere }: Passage, direction: number): number =>
  stepsNowhere + (direction > 0 ? stepsBack : stepsForward);
