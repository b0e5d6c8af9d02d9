import { readFileSync } from 'node:fs';
import path from 'node:path';

/** A profile's cost of a false alarm and of a missed window; a window that is met counts 1. */
export const profiles = {
  standard: { falseAlarm: 0.11, miss: 1 },
  'low FP': { falseAlarm: 0.22, miss: 1 },
  'low FN': { falseAlarm: 0.11, miss: 2 },
} as const;

export type Profile = keyof typeof profiles;
export const profileNames = Object.keys(profiles) as readonly Profile[];

/** A file of the Numenta Anomaly Benchmark, with how the benchmark weighs an alarm at each of its points. */
export type Series = {
  readonly file: string;
  readonly times: readonly number[];
  readonly values: readonly number[];
  /** The window a point lies in, `outside`, or `unscored` at the beginning. */
  readonly window: Int32Array;
  /** Within a window what its earliest alarm earns, 1 at its left edge; outside what an alarm costs, -1 far from any. */
  readonly weight: Float64Array;
  readonly windows: number;
};

/** An alarm at a point, as novel as `score`. */
export type Alarm = { readonly index: number; readonly score: number };
export type Alarms = ReadonlyMap<string, readonly Alarm[]>;

const outside = -1;
const unscored = -2;

/** All files, from a folder with `data/` and `labels/combined_windows.json`. */
export function loadSeries(folder: string): readonly Series[] {
  const labels = JSON.parse(
    readFileSync(path.join(folder, 'labels/combined_windows.json'), 'utf8'),
  ) as Record<string, readonly (readonly [string, string])[]>;
  return Object.keys(labels)
    .sort()
    .map((file) => {
      const rows = readFileSync(path.join(folder, 'data', file), 'utf8')
        .trim()
        .split(/\r?\n/)
        .slice(1);
      const times = rows.map((row) => timeOf(row.slice(0, row.indexOf(','))));
      const values = rows.map((row) => Number(row.slice(row.indexOf(',') + 1)));
      const ranges = (labels[file] ?? []).map(([from, to]) => ({
        from: times.indexOf(timeOf(from)),
        to: times.indexOf(timeOf(to)),
      }));
      return { file, times, values, ...weighed(times.length, ranges), windows: ranges.length };
    });
}

const timeOf = (text: string): number => Date.parse(`${text.slice(0, 19).replace(' ', 'T')}Z`);

/** From 1 far before zero to -1 far behind it. */
const sigmoid = (x: number): number => (x > 3 ? -1 : 2 / (1 + Math.exp(5 * x)) - 1);

function weighed(points: number, ranges: readonly { readonly from: number; readonly to: number }[]) {
  const window = new Int32Array(points).fill(outside);
  const weight = new Float64Array(points).fill(-1);
  for (const [i, { from, to }] of ranges.entries()) {
    const width = to - from + 1;
    for (let at = from; at <= to; at += 1) {
      window[at] = i;
      weight[at] = sigmoid(-(to - at + 1) / width) / sigmoid(-1);
    }
    const next = ranges[i + 1]?.from ?? points;
    for (let at = to + 1; at < next; at += 1) weight[at] = sigmoid((at - to) / (width - 1));
  }
  window.fill(unscored, 0, Math.min(Math.floor(0.15 * points), 750));
  return { window, weight };
}

export type Score = {
  readonly score: number;
  /** Alarms are those at least so novel. */
  readonly threshold: number;
  readonly met: number;
  readonly falseAlarms: number;
};

/** What the alarms of at least `threshold` score: 0 for no alarm at all, 100 for a perfect detector. */
export function scoreAt(
  threshold: number,
  alarms: Alarms,
  series: readonly Series[],
  profile: Profile,
): Score {
  const sweep = new Sweep(series, profile);
  for (const { at, index, score } of byNovelty(alarms, series)) if (score >= threshold) sweep.add(at, index);
  return sweep.result(threshold);
}

/** The same at the threshold that is best for these series. */
export function bestScore(alarms: Alarms, series: readonly Series[], profile: Profile): Score {
  const sweep = new Sweep(series, profile);
  const points = byNovelty(alarms, series);
  let best = sweep.result(Number.POSITIVE_INFINITY);
  for (const [i, { at, index, score }] of points.entries()) {
    sweep.add(at, index);
    if (points[i + 1]?.score === score) continue;
    const result = sweep.result(score);
    if (result.score > best.score) best = result;
  }
  return best;
}

function byNovelty(alarms: Alarms, series: readonly Series[]) {
  return series
    .flatMap((at) => (alarms.get(at.file) ?? []).map(({ index, score }) => ({ at, index, score })))
    .filter(({ at, index }) => at.window[index] !== unscored)
    .sort((a, b) => b.score - a.score);
}

/** The score of a growing set of alarms. */
class Sweep {
  readonly #cost: (typeof profiles)[Profile];
  readonly #windows: number;
  readonly #earned = new Map<string, number>();
  #gain = 0;
  #falseAlarms = 0;

  constructor(series: readonly Series[], profile: Profile) {
    this.#cost = profiles[profile];
    this.#windows = series.reduce((sum, { windows }) => sum + windows, 0);
  }

  add({ file, window, weight }: Series, index: number): void {
    if (window[index] === outside) {
      this.#falseAlarms += 1;
      this.#gain += (weight[index] as number) * this.#cost.falseAlarm;
      return;
    }
    const key = `${file} ${window[index]}`;
    const before = this.#earned.get(key) ?? -this.#cost.miss;
    const earned = Math.max(before, weight[index] as number);
    this.#earned.set(key, earned);
    this.#gain += earned - before;
  }

  result(threshold: number): Score {
    return {
      score: (100 * this.#gain) / (this.#windows * (1 + this.#cost.miss)),
      threshold,
      met: this.#earned.size,
      falseAlarms: this.#falseAlarms,
    };
  }
}
