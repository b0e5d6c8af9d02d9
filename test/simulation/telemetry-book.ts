import { isDeepStrictEqual } from 'node:util';
import { check } from './book-keeper.ts';

/** The little of the telemetry log that the book-keeper reads. It shares no code with the product. */
export type TelemetryFact = {
  readonly type: string;
  readonly position: string;
  readonly receivedAt: number;
  readonly correlationId: string;
  readonly data: unknown;
};
type Value = number | string | boolean;
type Sent = {
  readonly deviceId: string;
  readonly timestamp: number;
  readonly metrics: Readonly<Record<string, Value>>;
  readonly untimed?: boolean;
};
type TakenBack = {
  readonly deviceId: string;
  readonly metric?: string;
  readonly from: number;
  readonly to: number;
};
type Row = { readonly metrics: Map<string, Value>; readonly day: number };
export type PointSeen = { readonly timestamp: number; readonly metric: string; readonly value: Value };
export type RollupSeen = {
  readonly metric: string;
  readonly bucket: number;
  readonly stats: {
    readonly count: number;
    readonly numbers: number;
    readonly sum: readonly number[];
    readonly min: number | null;
    readonly max: number | null;
    readonly first: Value;
    readonly last: Value;
  };
};
export type LetterSeen = {
  readonly partition: number;
  readonly position: string;
  readonly cause: string;
  readonly stream: string;
  readonly discarded: unknown;
};
export type LedgerSeen = Readonly<
  Record<
    'accepted' | 'stored' | 'duplicate' | 'corrected' | 'deadLettered' | 'late' | 'retracted' | 'rows',
    number
  >
> & { readonly deviceId: string; readonly day: number };

/** What the tables have to say once every reading has come. */
export type ExpectedTelemetry = {
  readonly rows: ReadonlyMap<string, ReadonlyMap<number, Row>>;
  readonly ledger: ReadonlyMap<string, Omit<LedgerSeen, 'deviceId' | 'day'>>;
};

/** Are in the telemetry log for detection alone: no reading, and of no row of points. */
const ofAlarms: readonly string[] = ['SilenceNoticed', 'AlarmClearRequested'];

const day = 86_400_000;
const widths = { '1m': 60_000, '1h': 3_600_000, '1d': day } as const;
const startOf = (width: number, time: number) => Math.floor(time / width) * width;

/**
 * Reads the true logs from the first event to the last, one reading after the other. What has a dead letter is left
 * out; whether it may have one is checked. Of a device that was registered `once` any reading may have one.
 */
export function recompute(
  partitions: readonly (readonly TelemetryFact[])[],
  deadLetters: readonly LetterSeen[],
  isRegistered: (deviceId: string) => boolean | 'once',
  partitionOf: (deviceId: string) => number,
): ExpectedTelemetry {
  const rows = new Map<string, Map<number, Row>>();
  const ledger = new Map<string, Record<string, number>>();
  const parked = new Map(
    deadLetters.map((deadLetter) => [`${deadLetter.partition}/${deadLetter.position}`, deadLetter]),
  );
  const held = new Set<string>();
  let seen = 0;
  for (const [partition, facts] of partitions.entries())
    for (const { type, position, receivedAt, data } of facts) {
      if (ofAlarms.includes(type)) continue;
      const { deviceId } = data as { readonly deviceId?: unknown };
      const counted = isId(deviceId) ? deviceId : '';
      const count = (outcome: string, at = receivedAt, by = 1) => {
        const key = `${counted} ${startOf(day, at)}`;
        const counts = ledger.get(key) ?? nothingCounted();
        counts[outcome] = (counts[outcome] ?? 0) + by;
        ledger.set(key, counts);
      };
      const isReading = type !== 'TelemetryRetracted';
      if (isReading) count('accepted');
      const deadLetter = parked.get(`${partition}/${position}`);
      const fault = faultOf(type, data, receivedAt, (id) => partitionOf(id) === partition, isRegistered);
      if (deadLetter) {
        seen += 1;
        if (isReading) count('deadLettered');
        const isHeld = held.has(`${partition} ${deadLetter.stream}`);
        check(
          fault !== undefined || isHeld || deadLetter.discarded !== null || isRegistered(counted) === 'once',
          () => `the event at ${partition}/${position} is parked as ${deadLetter.cause} without a reason`,
        );
        if (
          deadLetter.discarded === null &&
          (fault === 'partition' || fault === 'device' || fault === 'type')
        )
          held.add(`${partition} ${deadLetter.stream}`);
        continue;
      }
      check(
        fault === undefined || fault === 'future',
        () => `the event at ${partition}/${position} was applied: ${fault}`,
      );
      const ofDevice = rows.get(counted) ?? new Map<number, Row>();
      rows.set(counted, ofDevice);
      if (isReading) {
        const outcome = take(ofDevice, data as Sent, startOf(day, receivedAt));
        count(outcome);
        if (outcome === 'stored') count('rows');
      } else
        for (const emptied of takeBack(ofDevice, data as TakenBack)) {
          count('retracted', emptied);
          count('rows', emptied, -1);
        }
    }
  check(
    seen === deadLetters.length,
    () => `${deadLetters.length - seen} dead letters are of no event in the log`,
  );
  return { rows, ledger: ledger as never };
}

const nothingCounted = (): Record<string, number> => ({
  accepted: 0,
  stored: 0,
  duplicate: 0,
  corrected: 0,
  deadLettered: 0,
  retracted: 0,
  rows: 0,
});

function faultOf(
  type: string,
  data: unknown,
  receivedAt: number,
  isHere: (deviceId: string) => boolean,
  isRegistered: (deviceId: string) => boolean | 'once',
): 'type' | 'form' | 'partition' | 'device' | 'future' | undefined {
  if (type !== 'TelemetryRecorded' && type !== 'TelemetryRetracted') return 'type';
  const { deviceId, timestamp, metrics } = data as Partial<Sent>;
  if (!isId(deviceId)) return 'form';
  if (type === 'TelemetryRecorded') {
    if (typeof timestamp !== 'number' || !Number.isInteger(timestamp)) return 'form';
    if (typeof metrics !== 'object' || metrics === null || Object.keys(metrics).length === 0) return 'form';
  }
  if (!isHere(deviceId)) return 'partition';
  if (!isRegistered(deviceId)) return 'device';
  return type === 'TelemetryRecorded' && (timestamp as number) - receivedAt > widths['1h']
    ? 'future'
    : undefined;
}

const isId = (id: unknown): id is string => typeof id === 'string' && /^[A-Za-z0-9][\w.:-]{0,127}$/.test(id);

function take(
  rows: Map<number, Row>,
  { timestamp, metrics, untimed }: Sent,
  arrival: number,
): 'stored' | 'duplicate' | 'corrected' {
  let time = timestamp;
  while (untimed && rows.has(time)) time += 1;
  const row = rows.get(time);
  if (!row) {
    rows.set(time, { metrics: new Map(Object.entries(metrics)), day: arrival });
    return 'stored';
  }
  let outcome: 'duplicate' | 'corrected' = 'duplicate';
  for (const [name, value] of Object.entries(metrics)) {
    if (row.metrics.get(name) !== value) outcome = 'corrected';
    row.metrics.set(name, value);
  }
  return outcome;
}

/** Returns, for each row that is gone, the day it had come on. */
function takeBack(rows: Map<number, Row>, { metric, from, to }: TakenBack): readonly number[] {
  const gone: number[] = [];
  for (const [time, row] of rows) {
    if (time < from || time >= to) continue;
    if (metric === undefined) row.metrics.clear();
    else if (!row.metrics.delete(metric)) continue;
    if (row.metrics.size > 0) continue;
    rows.delete(time);
    gone.push(row.day);
  }
  return gone;
}

export function checkPoints(
  deviceId: string,
  expected: readonly PointSeen[],
  found: readonly PointSeen[],
): void {
  const text = ({ timestamp, metric, value }: PointSeen) => `${timestamp} ${metric} ${JSON.stringify(value)}`;
  const [a, b] = [new Set(expected.map(text)), new Set(found.map(text))];
  const missing = [...a].filter((point) => !b.has(point)).slice(0, 3);
  const extra = [...b].filter((point) => !a.has(point)).slice(0, 3);
  check(missing.length === 0 && extra.length === 0 && found.length === b.size, () => {
    return `points of ${deviceId}: ${found.length} instead of ${expected.length}; missing ${missing}; too many ${extra}`;
  });
}

export function checkLatest(
  deviceId: string,
  points: readonly PointSeen[],
  seen: readonly PointSeen[],
): void {
  const newest = new Map<string, PointSeen>();
  for (const point of points) newest.set(point.metric, point);
  const plain = ({ timestamp, metric, value }: PointSeen) => ({ timestamp, metric, value });
  const expected = [...newest.values()].map(plain).sort((a, b) => (a.metric < b.metric ? -1 : 1));
  check(
    isDeepStrictEqual(seen.map(plain), expected),
    () => `newest values of ${deviceId}: ${JSON.stringify(seen)} instead of ${JSON.stringify(expected)}`,
  );
}

export function checkRollups(
  deviceId: string,
  points: readonly PointSeen[],
  level: keyof typeof widths,
  seen: readonly RollupSeen[],
): void {
  const buckets = new Map<string, Value[]>();
  for (const { timestamp, metric, value } of points) {
    const key = `${startOf(widths[level], timestamp)} ${metric}`;
    const values = buckets.get(key);
    if (values) values.push(value);
    else buckets.set(key, [value]);
  }
  check(
    buckets.size === seen.length,
    () => `${level} rollups of ${deviceId}: ${seen.length} instead of ${buckets.size}`,
  );
  for (const { bucket, metric, stats } of seen) {
    const values = buckets.get(`${bucket} ${metric}`) ?? [];
    const numbers = values.filter((value) => typeof value === 'number');
    const expected = {
      count: values.length,
      numbers: numbers.length,
      sum: numbers.reduce((sum, one) => sum + one, 0),
      min: numbers.length === 0 ? null : Math.min(...numbers),
      max: numbers.length === 0 ? null : Math.max(...numbers),
      first: values[0],
      last: values.at(-1),
    };
    const { count, numbers: some, sum, min, max, first, last } = stats;
    const found = {
      count,
      numbers: some,
      sum: sum.reduce((all, part) => all + part, 0),
      min,
      max,
      first,
      last,
    };
    check(
      isDeepStrictEqual(found, expected),
      () =>
        `${level} of ${metric} of ${deviceId} at ${bucket}: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`,
    );
  }
}

export function checkLedger(
  { ledger }: ExpectedTelemetry,
  seen: readonly LedgerSeen[],
  isExempt: (deviceId: string) => boolean,
): void {
  const found = new Map(seen.map((entry) => [`${entry.deviceId} ${entry.day}`, entry]));
  for (const [key, expected] of ledger) {
    if (isExempt(key.split(' ')[0] ?? '')) continue;
    const entry = found.get(key);
    for (const [name, count] of Object.entries(expected))
      check(
        count === (entry?.[name as keyof typeof expected] ?? 0),
        () => `ledger of ${key}: ${name} ${entry?.[name as keyof typeof expected]} instead of ${count}`,
      );
  }
}

/** By time, as whatever order they came in. */
export function pointsOf(rows: ReadonlyMap<number, Row>): readonly PointSeen[] {
  return [...rows]
    .sort(([a], [b]) => a - b)
    .flatMap(([timestamp, { metrics }]) =>
      [...metrics].map(([metric, value]) => ({ timestamp, metric, value })),
    );
}
