import { type Evaluator, evaluatorOf } from '../../domain/detection/evaluators.ts';
import type { Condition, RuleKind } from '../../domain/detection/rule.ts';
import { type Seeded, seeded } from './seeded.ts';

/** The value at each point of a process. */
type GeneratedProcess = (random: Seeded) => (point: number) => number;

/** Values of a day, one every five minutes. */
export const day = 288;
const step = 300_000;
const wave = (point: number) => Math.sin((2 * Math.PI * point) / day);
const dailyCourse: GeneratedProcess = (random) => (point) => 20 + 5 * wave(point) + 0.3 * random.normal();

/** Processes without any fault. */
export const generatedProcesses: Readonly<Record<string, GeneratedProcess>> = {
  normal: (random) => () => random.normal(),
  Laplace: (random) => () => {
    const u = random.next() - 0.5;
    return -Math.sign(u) * Math.log(1 - 2 * Math.abs(u));
  },
  lognormal: (random) => () => Math.exp(random.normal()),
  'Pareto of exponent 1.5': (random) => () => (1 - random.next()) ** (-1 / 1.5),
  'autoregressive of order 1': (random) => {
    let last = 0;
    return () => {
      last = 0.9 * last + random.normal();
      return last;
    };
  },
  'random walk': (random) => {
    let last = 0;
    return () => {
      last += random.normal();
      return last;
    };
  },
  counter: (random) => {
    let last = 0;
    return () => {
      last += Math.floor(10 * random.next());
      return last;
    };
  },
  'trend and noise': (random) => (point) => point / 1000 + random.normal(),
  daily: dailyCourse,
  'daily and yearly': (random) => (point) =>
    10 + 8 * Math.sin((2 * Math.PI * point) / (365 * day)) + 4 * wave(point) + 0.3 * random.normal(),
  'on and off': (random) => {
    let isOn = false;
    return () => {
      if (random.next() < 0.01) isOn = !isOn;
      return isOn ? 1 : 0;
    };
  },
  constant: () => () => 21.5,
  quantised: (random) => (point) => Math.round(2 * (20 + 5 * wave(point) + 0.3 * random.normal())) / 2,
};

/** Values that nothing is counted of, and those that follow. */
const learnt = 10_000;
export const judged = 90_000;

/** How many of 90,000 values of a process raise an alarm of novelty or make it escalate. */
export function falseAlarms(process: GeneratedProcess, seed: number): number {
  const valueAt = process(seeded(seed));
  const evaluator = evaluatorOf({ kind: 'novel' });
  let alarms = 0;
  for (let point = 0; point < learnt + judged; point += 1) {
    const found = isFound(evaluator, point, valueAt(point));
    if (point >= learnt && found) alarms += 1;
  }
  return alarms;
}

/** The most bytes that a rule remembers of a series in the first 5,000 values of any process, with the newest time of it. */
export function stateBytes(condition: Condition): number {
  let most = 0;
  for (const process of Object.values(generatedProcesses)) {
    const valueAt = process(seeded(1));
    const evaluator = evaluatorOf(condition);
    for (let point = 0; point < 5000; point += 1) {
      isFound(evaluator, point, valueAt(point));
      most = Math.max(most, 8 * (1 + evaluator.save().length));
    }
  }
  return most;
}

/** What a fault makes of a daily course; `undefined` where nothing is sent. */
type Fault = (reading: {
  readonly usual: number;
  /** Readings since the fault began. */
  readonly after: number;
  /** The last value before it. */
  readonly last: number;
  readonly point: number;
  readonly random: Seeded;
}) => number | undefined;

export const injectedFaults: Readonly<Record<string, Fault>> = {
  none: ({ usual }) => usual,
  'one value 10 too high': ({ usual, after }) => (after === 0 ? usual + 10 : usual),
  'one value 4 too high': ({ usual, after }) => (after === 0 ? usual + 4 : usual),
  'all values 7.5 too high': ({ usual }) => usual + 7.5,
  'all values 2 too high': ({ usual }) => usual + 2,
  'one more each day': ({ usual, after }) => usual + after / day,
  'noise five times as strong': ({ usual, random }) => usual + 1.5 * random.normal(),
  'zeros instead': () => 0,
  'stuck at the last value': ({ last }) => last,
  'the course half a day late': ({ usual, point }) => usual - 10 * wave(point),
  'nothing sent': () => undefined,
};

/** Rules as somebody who knows the course would set them, and novelty as it is. */
export const rulesOfCourse = {
  range: { kind: 'range', above: 27, below: 13 },
  rate: { kind: 'rate', above: 0.01, below: -0.01 },
  stuck: { kind: 'stuck', for: 6 * step },
  silent: { kind: 'silent', for: 3 * step },
  novel: { kind: 'novel' },
} as const satisfies Readonly<Record<RuleKind, Condition>>;

/** Values before a fault, and those within which it has to be found. */
const before = 20_000;
const observed = 7 * day;

/**
 * Readings from the beginning of a fault at any time of day until a rule finds it, for each fault; `undefined` where it
 * does not within a week.
 */
export function delaysOf(condition: Condition, seed: number): Readonly<Record<string, number | undefined>> {
  const random = seeded(seed);
  const begins = before + Math.floor(day * random.next());
  const usual = dailyCourse(random);
  const learning = evaluatorOf(condition);
  let last = 0;
  for (let point = 0; point < begins; point += 1) {
    last = usual(point);
    isFound(learning, point, last);
  }
  const saved = learning.save();
  const delayOf = (fault: Fault): number | undefined => {
    const evaluator = evaluatorOf(condition, saved);
    const noise = seeded(seed + 1);
    const course = dailyCourse(noise);
    for (let after = 0; after < observed; after += 1) {
      const point = begins + after;
      const value = fault({ usual: course(point), after, last, point, random: noise });
      if (isFound(evaluator, point, value)) return after;
    }
    return undefined;
  };
  return Object.fromEntries(Object.entries(injectedFaults).map(([name, fault]) => [name, delayOf(fault)]));
}

/** Whether an alarm is raised, or escalates, at a point by what comes then, or because nothing does. */
function isFound(evaluator: Evaluator, point: number, value: number | undefined): boolean {
  const time = point * step;
  const transitions =
    value === undefined
      ? (evaluator.silentUntil?.(time) ?? [])
      : evaluator.next({ timestamp: time, receivedAt: time, value });
  return transitions.some(({ change }) => change !== 'cleared');
}
