import { durationText, groupedCount, shortNumber, timeText } from './explanation-texts.ts';
import { NoveltyDetector } from './novelty.ts';
import type { Condition, Persistence, ValueBounds } from './rule.ts';

/** One value of a series. Times are epoch milliseconds; device times grow from call to call, arrivals need not. */
export type SeriesReading = {
  readonly timestamp: number;
  readonly receivedAt: number;
  readonly value: number;
};

/** What a reading does to the alarm of its series. An alarm is raised, perhaps escalated, then cleared. */
export type Transition = {
  readonly change: 'raised' | 'escalated' | 'cleared';
  /** Epoch milliseconds: the device's time, or for silence the time of arrival. */
  readonly at: number;
  readonly value: number | null;
  /** How far beyond its bound, in the units of the bound; for novelty, in usual ranges. */
  readonly magnitude: number;
  /** A sentence with the numbers it rests on. */
  readonly explanation: string;
};

/**
 * Judges the readings of one series, in order, by one condition. Deterministic and bounded: the same readings give the
 * same transitions, also when the state is saved and loaded between any two.
 */
export interface Evaluator {
  next(reading: SeriesReading): readonly Transition[];
  /** Nothing arrived until `time`. Absent where that means nothing. */
  silentUntil?(time: number): readonly Transition[];
  /** A person has cleared the alarm: what raised it counts anew. */
  clear(): void;
  /** All that the next transitions depend on, as doubles. */
  save(): ArrayLike<number>;
}

/** An evaluator at its beginning, or as `saved`. */
export function evaluatorOf(condition: Condition, saved?: ArrayLike<number>): Evaluator {
  switch (condition.kind) {
    case 'range':
      return new RangeEvaluator(condition, saved);
    case 'rate':
      return new RateEvaluator(condition, saved);
    case 'stuck':
      return new StuckEvaluator(condition, saved);
    case 'silent':
      return new SilenceEvaluator(condition, saved);
    case 'novel':
      return new NoveltyEvaluator(condition, saved);
  }
}

export const defaultSensitivity = 0.06;
const hour = 3_600_000;
const nothing: readonly Transition[] = [];

/** Counts readings in a row beyond a bound, and knows whether an alarm is open. */
class Run {
  readonly #for: number;
  readonly #count: number;
  readonly #maxGap: number;
  isOpen: boolean;
  since: number;
  count: number;
  #last: number;

  constructor(persistence: Persistence, saved: ArrayLike<number> = [0, 0, 0, 0]) {
    this.#for = persistence.for ?? 0;
    this.#count = persistence.count ?? 1;
    this.#maxGap = persistence.maxGap ?? Math.max(hour, this.#for);
    this.isOpen = saved[0] === 1;
    this.since = saved[1] as number;
    this.count = saved[2] as number;
    this.#last = saved[3] as number;
  }

  /** Whether the alarm changes, when the reading passes a bound and when it passes the one that clears. */
  next(timestamp: number, passes: boolean, holds: boolean): 'raised' | 'cleared' | undefined {
    const gap = timestamp - this.#last;
    this.#last = timestamp;
    if (this.isOpen) {
      if (holds) return undefined;
      this.isOpen = false;
      this.count = 0;
      return 'cleared';
    }
    if (gap > this.#maxGap || !passes) this.count = 0;
    if (!passes) return undefined;
    if (this.count === 0) this.since = timestamp;
    this.count += 1;
    if (this.count < this.#count || timestamp - this.since < this.#for) return undefined;
    this.isOpen = true;
    return 'raised';
  }

  clear(): void {
    this.isOpen = false;
    this.count = 0;
  }

  /** In words, nothing for a single reading. */
  get duration(): string {
    return this.count > 1 ? `, in ${groupedCount(this.count)} readings since ${timeText(this.since)}` : '';
  }

  save(): readonly number[] {
    return [this.isOpen ? 1 : 0, this.since, this.count, this.#last];
  }
}

class RangeEvaluator implements Evaluator {
  readonly #condition: Extract<Condition, { kind: 'range' }>;
  readonly #clear: ValueBounds;
  readonly #run: Run;

  constructor(condition: Extract<Condition, { kind: 'range' }>, saved?: ArrayLike<number>) {
    const { above, below, clearAbove = above, clearBelow = below } = condition;
    this.#condition = condition;
    this.#clear = {
      ...(clearAbove !== undefined && { above: clearAbove }),
      ...(clearBelow !== undefined && { below: clearBelow }),
    };
    this.#run = new Run(condition, saved);
  }

  next({ timestamp, value }: SeriesReading): readonly Transition[] {
    const change = this.#run.next(timestamp, passes(value, this.#condition), passes(value, this.#clear));
    if (!change) return nothing;
    const passed = change === 'raised' ? beyond(value, this.#condition) : undefined;
    const explanation = passed
      ? `${value} is ${passed.side} ${passed.bound}${this.#run.duration}`
      : `${value} is back within ${boundsText(this.#clear)}`;
    return [{ change, at: timestamp, value, magnitude: passed?.by ?? 0, explanation }];
  }

  clear(): void {
    this.#run.clear();
  }

  save(): readonly number[] {
    return this.#run.save();
  }
}

class RateEvaluator implements Evaluator {
  readonly #condition: Extract<Condition, { kind: 'rate' }>;
  readonly #run: Run;
  #last: { readonly timestamp: number; readonly value: number } | undefined;

  constructor(condition: Extract<Condition, { kind: 'rate' }>, saved?: ArrayLike<number>) {
    this.#condition = condition;
    this.#run = new Run(condition, saved);
    if (saved && saved.length > 4) this.#last = { timestamp: saved[4] as number, value: saved[5] as number };
  }

  next({ timestamp, value }: SeriesReading): readonly Transition[] {
    const last = this.#last;
    this.#last = { timestamp, value };
    if (!last || (this.#condition.reset && value < last.value)) return nothing;
    const rate = (value - last.value) / ((timestamp - last.timestamp) / 1000);
    const isPassed = passes(rate, this.#condition);
    const change = this.#run.next(timestamp, isPassed, isPassed);
    if (!change) return nothing;
    const passed = change === 'raised' ? beyond(rate, this.#condition) : undefined;
    const measured = `from ${last.value} at ${timeText(last.timestamp)} to ${value} at ${timeText(timestamp)}, ${shortNumber(rate)} a second`;
    const explanation = passed
      ? `It went ${measured}, which is ${passed.side} ${passed.bound}${this.#run.duration}`
      : `It went ${measured}, which is back within ${boundsText(this.#condition)}`;
    return [{ change, at: timestamp, value, magnitude: passed?.by ?? 0, explanation }];
  }

  clear(): void {
    this.#run.clear();
  }

  save(): readonly number[] {
    const last = this.#last ? [this.#last.timestamp, this.#last.value] : [];
    return [...this.#run.save(), ...last];
  }
}

class StuckEvaluator implements Evaluator {
  readonly #for: number;
  readonly #tolerance: number;
  /** The value it is stuck at since when, and in how many readings; none before the first. */
  #since = 0;
  #value = 0;
  #count = 0;
  #isOpen = false;

  constructor(condition: Extract<Condition, { kind: 'stuck' }>, saved?: ArrayLike<number>) {
    this.#for = condition.for;
    this.#tolerance = condition.tolerance ?? 0;
    if (!saved) return;
    this.#since = saved[0] as number;
    this.#value = saved[1] as number;
    this.#count = saved[2] as number;
    this.#isOpen = saved[3] === 1;
  }

  next({ timestamp, value }: SeriesReading): readonly Transition[] {
    const difference = Math.abs(value - this.#value);
    if (this.#count === 0 || difference > this.#tolerance) {
      const before = this.#value;
      const wasOpen = this.#isOpen;
      this.#since = timestamp;
      this.#value = value;
      this.#count = 1;
      this.#isOpen = false;
      if (!wasOpen) return nothing;
      const explanation = `It changed from ${before} to ${value}`;
      return [{ change: 'cleared', at: timestamp, value, magnitude: 0, explanation }];
    }
    this.#count += 1;
    const stuckFor = timestamp - this.#since;
    if (this.#isOpen || stuckFor < this.#for) return nothing;
    this.#isOpen = true;
    const within = this.#tolerance === 0 ? '' : ` within ${this.#tolerance}`;
    const explanation = `It has been ${this.#value}${within} for ${durationText(stuckFor)}, in ${groupedCount(this.#count)} readings since ${timeText(this.#since)}`;
    return [{ change: 'raised', at: timestamp, value, magnitude: stuckFor / 1000, explanation }];
  }

  clear(): void {
    this.#isOpen = false;
    this.#count = 0;
  }

  save(): readonly number[] {
    return [this.#since, this.#value, this.#count, this.#isOpen ? 1 : 0];
  }
}

/** That nothing comes, a clock has to find out; the next arrival clears the alarm. */
class SilenceEvaluator implements Evaluator {
  readonly #for: number;
  #last: number | undefined;
  #isOpen: boolean;

  constructor(condition: Extract<Condition, { kind: 'silent' }>, saved?: ArrayLike<number>) {
    this.#for = condition.for;
    this.#last = saved?.[0];
    this.#isOpen = saved?.[1] === 1;
  }

  next({ receivedAt }: SeriesReading): readonly Transition[] {
    const last = this.#last;
    // Of two nodes with clocks that differ, the later arrival counts.
    if (last === undefined || receivedAt > last) this.#last = receivedAt;
    if (last === undefined || !this.#isOpen) return nothing;
    this.#isOpen = false;
    const silent = Math.max(0, receivedAt - last);
    const explanation = `A reading came after ${durationText(silent)}`;
    return [{ change: 'cleared', at: receivedAt, value: null, magnitude: silent / 1000, explanation }];
  }

  silentUntil(time: number): readonly Transition[] {
    if (this.#last === undefined || this.#isOpen || time < this.#last + this.#for) return nothing;
    this.#isOpen = true;
    return [silence(this.#last, this.#for)];
  }

  /** Nothing is expected until the next arrival: the same silence would be the same alarm. */
  clear(): void {
    this.#isOpen = false;
    this.#last = undefined;
  }

  save(): readonly number[] {
    return this.#last === undefined ? [] : [this.#last, this.#isOpen ? 1 : 0];
  }
}

/** The alarm of a series whose last reading arrived at `last`, due when `longest` milliseconds have passed since. */
function silence(last: number, longest: number): Transition {
  const explanation = `Nothing came for ${durationText(longest)}: the last reading arrived at ${timeText(last)}`;
  return { change: 'raised', at: last + longest, value: null, magnitude: longest / 1000, explanation };
}

/** So many readings without anything new clear the alarm. */
const quietReadings = 50;

class NoveltyEvaluator implements Evaluator {
  readonly #sensitivity: number;
  readonly #detector = new NoveltyDetector();
  #isOpen = false;
  #quiet = 0;

  constructor(condition: Extract<Condition, { kind: 'novel' }>, saved?: ArrayLike<number>) {
    this.#sensitivity = condition.sensitivity ?? defaultSensitivity;
    if (!saved) return;
    this.#isOpen = saved[0] === 1;
    this.#quiet = saved[1] as number;
    this.#detector.load(saved, 2);
  }

  next({ timestamp, value }: SeriesReading): readonly Transition[] {
    const seen = this.#detector.seen;
    const novelty = this.#detector.next(value);
    if (novelty >= this.#sensitivity) {
      const change = this.#isOpen ? 'escalated' : 'raised';
      this.#isOpen = true;
      this.#quiet = 0;
      const explanation = this.#explain(value, novelty, seen);
      return [{ change, at: timestamp, value, magnitude: novelty, explanation }];
    }
    if (!this.#isOpen) return nothing;
    this.#quiet += 1;
    if (this.#quiet < quietReadings) return nothing;
    this.#isOpen = false;
    const explanation = `The last ${quietReadings} readings were nothing new`;
    return [{ change: 'cleared', at: timestamp, value, magnitude: 0, explanation }];
  }

  clear(): void {
    this.#isOpen = false;
    this.#quiet = 0;
  }

  save(): Float64Array {
    return this.#detector.save([this.#isOpen ? 1 : 0, this.#quiet]);
  }

  #explain(value: number, novelty: number, seen: number): string {
    const away = (distance: number) => `${shortNumber(distance)} usual ranges away from every`;
    const of = `${groupedCount(seen)} readings`;
    // The mean counts half.
    if (this.#detector.isOfMean(novelty))
      return `The mean of the last 24 readings, ${shortNumber(this.#detector.mean)}, is ${away(2 * novelty)} such mean of ${of}`;
    return `${value} is ${away(novelty)} value in ${of}`;
  }
}

const passes = (value: number, { above, below }: ValueBounds): boolean =>
  (above !== undefined && value > above) || (below !== undefined && value < below);

function beyond(value: number, { above, below }: ValueBounds) {
  if (above !== undefined && value > above) return { side: 'above', bound: above, by: value - above };
  if (below !== undefined && value < below) return { side: 'below', bound: below, by: below - value };
  return undefined;
}

function boundsText({ above, below }: ValueBounds): string {
  if (above !== undefined && below !== undefined) return `${below} to ${above}`;
  return above === undefined ? `at least ${below}` : `at most ${above}`;
}
