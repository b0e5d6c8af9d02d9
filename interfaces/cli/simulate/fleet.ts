import type { MetricValue, Reading } from '../../../domain/telemetry.ts';
import type { NewDevice } from '../../import/reading-sink.ts';

export type FleetPlan = {
  readonly devices: number;
  /** Readings of the whole fleet, each counted once however often it is sent. */
  readonly readings: number;
  /** Of the whole fleet. */
  readonly readingsPerSecond: number;
  readonly seed: number;
  /** Epoch milliseconds of the first readings. */
  readonly start: number;
  /** How many of the readings are sent twice, and how many come later than others made after them. */
  readonly duplicates: number;
  readonly late: number;
};

/** One reading to be sent; a duplicate is the very same object again. */
export type FleetReading = { readonly reading: Reading; readonly device: number; isAccepted: boolean };

export type Fleet = {
  readonly devices: readonly NewDevice[];
  /** From the first timestamp to before `to`. */
  readonly range: { readonly from: number; readonly to: number };
  readonly sentLate: number;
  readonly sentTwice: number;
  /** The next that are to be sent, about `count` of them; none when all were. */
  take(count: number): readonly FleetReading[];
};

/** How much later a late reading comes, in seconds at most. */
const latest = 2;
const day = 86_400_000;

/** Stations that measure their room: the same plan always gives the same readings in the same order. */
export function fleet(plan: FleetPlan): Fleet {
  const random = randomNumbers(plan.seed);
  const rooms = Array.from({ length: plan.devices }, () => ({
    warmth: 18 + 6 * random(),
    phase: 2 * Math.PI * random(),
    drift: 0,
    battery: 80 + 20 * random(),
  }));
  const everyMilliseconds = Math.max(1, Math.floor((plan.devices * 1000) / plan.readingsPerSecond));
  const rounds = Math.ceil(plan.readings / plan.devices);
  let held: { readonly until: number; readonly late: FleetReading }[] = [];
  let made = 0;
  let sentLate = 0;
  let sentTwice = 0;

  return {
    devices: rooms.map((_, device) => ({
      deviceId: deviceId(device),
      name: `Simulated station ${device + 1}`,
      type: 'simulated',
    })),
    range: { from: plan.start, to: plan.start + rounds * everyMilliseconds },
    get sentLate() {
      return sentLate;
    },
    get sentTwice() {
      return sentTwice;
    },
    take,
  };

  function take(count: number): readonly FleetReading[] {
    const taken: FleetReading[] = [];
    do taken.push(...makeNext(count), ...nowDue());
    while (taken.length === 0 && made < plan.readings);
    return taken;
  }

  function makeNext(count: number): readonly FleetReading[] {
    const punctual: FleetReading[] = [];
    for (const end = Math.min(made + count, plan.readings); made < end; made += 1) {
      const next = { device: made % plan.devices, reading: readingOf(made), isAccepted: false };
      const isLate = random() < plan.late;
      const lateness = Math.ceil(random() * latest * plan.readingsPerSecond);
      if (isLate) held.push({ until: made + lateness, late: next });
      else punctual.push(next);
      if (random() < plan.duplicates) {
        sentTwice += 1;
        punctual.push(next);
      }
    }
    return punctual;
  }

  /** Of those held back; all of them once there is nothing left to be later than. */
  function nowDue(): readonly FleetReading[] {
    const isDue = ({ until }: { until: number }) => until <= made || made === plan.readings;
    const due = held.filter(isDue);
    held = held.filter((one) => !isDue(one));
    sentLate += due.length;
    return due.map(({ late }) => late);
  }

  function readingOf(index: number): Reading {
    const device = index % plan.devices;
    const room = rooms[device] as (typeof rooms)[number];
    const timestamp =
      plan.start + Math.floor(index / plan.devices) * everyMilliseconds + (device % everyMilliseconds);
    room.drift = 0.99 * room.drift + 0.2 * (random() - 0.5);
    room.battery = Math.max(0, room.battery - 0.001 * random());
    const temperature = room.warmth + 4 * Math.sin((2 * Math.PI * timestamp) / day + room.phase) + room.drift;
    const metrics = {
      temperature: rounded(temperature, 2),
      humidity: rounded(90 - 2 * temperature + 3 * random(), 1),
      battery: rounded(room.battery, 2),
      windowOpen: room.drift > 0.3,
    };
    return { deviceId: deviceId(device), timestamp, metrics };
  }

  function deviceId(device: number): string {
    return `sim-${plan.seed}-${String(device + 1).padStart(4, '0')}`;
  }
}

const rounded = (value: number, digits: number): number => Math.round(value * 10 ** digits) / 10 ** digits;

/** Numbers from 0 to below 1 that the same seed always gives in the same order (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Many points summed up in little memory, whatever order they came in: two sums are equal when the points are. */
export type PointSum = { readings: number; points: number; checksum: number };

export const noPoints = (): PointSum => ({ readings: 0, points: 0, checksum: 0 });

export function addToSum(sum: PointSum, timestamp: number, metric: string, value: MetricValue): void {
  sum.points += 1;
  sum.checksum = (sum.checksum + digest(`${timestamp} ${metric} ${JSON.stringify(value)}`)) >>> 0;
}

export const isSameSum = (a: PointSum, b: PointSum): boolean =>
  a.readings === b.readings && a.points === b.points && a.checksum === b.checksum;

/** FNV-1a. */
function digest(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
