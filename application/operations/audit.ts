import { bucketOf, rollupWidth } from '../../domain/rollup.ts';
import type { AuditScope, AuditTables } from '../ports/audit.ts';
import { comparePositions, type EventSource, lastPositions } from '../ports/event-source.ts';
import type { GenerationId, LedgerTotals } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { arrivalOf, countsAsReading } from '../projections/telemetry.ts';
import { readLog } from '../rebuild/build-consumer.ts';
import {
  type AuditCounts,
  AuditEntries,
  type AuditEntry,
  type DerivedEntry,
  type DerivedTable,
  isInSample,
  noCounts,
} from './audit-entries.ts';
import { DerivedAudit, type RetentionLookup } from './derived-audit.ts';

export type AuditQuery = {
  readonly deviceId?: string | undefined;
  /** Of arrival, epoch milliseconds; whole UTC days are looked at. Rollups are compared of the same days of devices' time. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  /** A share of all devices, above 0 and at most 1, other ones with every audit. */
  readonly sample?: number | undefined;
};

export type AuditReport = {
  readonly totals: AuditCounts;
  /** Day by day, in order. */
  readonly days: readonly ({ readonly day: number } & AuditCounts)[];
  /** Device by device and day by day, the first thousand. */
  readonly entries: readonly AuditEntry[];
  /** How many there are, those of totals among them, and the first thousand of devices and days. */
  readonly differenceCount: number;
  readonly differences: readonly Difference[];
  /** Running totals that are not the sums of the ledger; of all devices and days alone. */
  readonly totalDifferences: readonly TotalDifference[];
  /** The log no longer has all that arrived before, epoch milliseconds; it is left out. `null` when it has all. */
  readonly uncheckedBefore: number | null;
};

export type TotalDifference = {
  readonly outcome: keyof LedgerTotals;
  /** By the rows of the ledger. */
  readonly expected: number;
  readonly found: number;
};

export type Difference = {
  readonly deviceId: string;
  /** UTC day of arrival; of rollups and newest values, of the device's time. */
  readonly day: number;
  /**
   * `unaccounted`: readings of the log that are not in the ledger. `rows`: the table holds others than stored.
   * `minutes`: rollups that do not follow from the points, `hours`: from the minutes, `days`: from the hours; points
   * counted. `latest`: newest values that do not follow from the points. Where both numbers are the same, values differ.
   */
  readonly kind: 'unaccounted' | 'rows' | 'minutes' | 'hours' | 'days' | 'latest';
  readonly expected: number;
  readonly found: number;
};

const derivedKinds = {
  '1m': 'minutes',
  '1h': 'hours',
  '1d': 'days',
  latest: 'latest',
} as const satisfies Record<DerivedTable, Difference['kind']>;

type AuditPorts = {
  readonly source: EventSource<TelemetryRecord>;
  readonly tables: AuditTables;
  readonly retentionOf: RetentionLookup;
  /** Those that are erased, or whose streams somebody has deleted, so that their rows are removed step by step. */
  readonly goneAmong: (deviceIds: ReadonlySet<string>) => Promise<ReadonlySet<string>>;
};

type AuditOptions = {
  readonly group: string;
  readonly signal: AbortSignal;
  /** Epoch milliseconds. */
  readonly now: number;
  /** Devices and days held in memory at once. */
  readonly mostEntries?: number;
};

const maxReported = 1000;
/** Milliseconds by which the clocks that readings are stamped with, and that of the log, may differ. */
const atMostApart = 3_600_000;
const width = rollupWidth['1d'];

/**
 * Recounts every accepted reading from the log, and compares the ledger and the table with it:
 * accepted = stored + duplicate + corrected + dead-lettered + late + in flight, and rows = stored - retracted -
 * expired, for each device and day. Newest values and rollups are compared with the points, but of
 * devices that are erased or whose streams were deleted. Memory does not grow with the fleet: what does not fit is left to another pass over
 * tables and log.
 */
export async function audit(
  live: GenerationId,
  { deviceId, from, to, sample }: AuditQuery,
  ports: AuditPorts,
  { mostEntries = 500_000, ...options }: AuditOptions,
): Promise<AuditReport> {
  const seed = `${options.group} ${options.now}`;
  const scope: AuditScope = {
    deviceId,
    ...(sample !== undefined && { includes: (id) => isInSample(id, sample, seed) }),
    from: from === undefined ? Number.MIN_SAFE_INTEGER : bucketOf('1d', from),
    to: to === undefined ? Number.MAX_SAFE_INTEGER : bucketOf('1d', to + width - 1),
  };
  const report = newReport();
  for (let start: number | undefined = 0; start !== undefined; ) {
    const entries = new AuditEntries(start, mostEntries);
    const uncheckedBefore = await count(live, scope, ports, options, entries);
    report.add(entries, uncheckedBefore, await goneIn(entries, ports));
    start = entries.next;
  }
  const isWhole = deviceId === undefined && sample === undefined && from === undefined && to === undefined;
  return report.done(isWhole ? await differingTotals(live, ports.tables) : []);
}

/**
 * Asked for when something differs, since the list of devices may not have come to an erasure. Of a damaged table not each
 * device is asked for: no deletion explains that many.
 */
async function goneIn(
  entries: AuditEntries,
  { goneAmong }: Pick<AuditPorts, 'goneAmong'>,
): Promise<ReadonlySet<string>> {
  const differing = new Set<string>();
  for (const { deviceId, isEqual } of entries.derived()) if (!isEqual) differing.add(deviceId);
  return differing.size > maxReported ? new Set() : goneAmong(differing);
}

async function differingTotals(live: GenerationId, tables: AuditTables): Promise<readonly TotalDifference[]> {
  const { ledger, totals } = await tables.totals(live);
  return (Object.keys(ledger) as (keyof LedgerTotals)[])
    .map((outcome) => ({ outcome, expected: ledger[outcome], found: totals[outcome] }))
    .filter(({ expected, found }) => expected !== found);
}

/** One pass over tables and log. Returns the first day that can be audited. */
async function count(
  live: GenerationId,
  scope: AuditScope,
  { source, tables, retentionOf }: AuditPorts,
  { group, signal, now }: Omit<AuditOptions, 'mostEntries'>,
  entries: AuditEntries,
): Promise<number | null> {
  const derived = new DerivedAudit(entries, {
    retentionOf,
    now,
    from: scope.from,
    to: scope.to,
    withLatest: scope.from === Number.MIN_SAFE_INTEGER && scope.to === Number.MAX_SAFE_INTEGER,
  });
  const consumed = await tables.read(live, scope, {
    ledger: ({ deviceId, day, ...counts }) => entries.add(deviceId, day, counts),
    expired: (deviceId, day, expired) => entries.add(deviceId, day, { expired }),
    async readings(rows) {
      signal.throwIfAborted();
      for (const { deviceId, receivedAt } of rows)
        if (receivedAt >= scope.from && receivedAt < scope.to) entries.add(deviceId, receivedAt, { rows: 1 });
      await derived.readings(rows);
    },
    rollups: (rows) => derived.rollups(rows),
    latest: (rows) => derived.latest(rows),
    tableEnd: () => derived.end(),
  });
  const expired = await source.expired();
  const ends = await lastPositions(source);
  const start = await source.positionsBefore?.(Math.max(0, scope.from - atMostApart));
  const seen = new Set<number>();
  let uncheckedBefore: number | null = null;
  await readLog(source, ends, { group, signal, ...(start && { from: start }) }, (events, partition) => {
    const [first] = events;
    const lost = expired.get(partition) ?? null;
    const startsWithIt = lost !== null && comparePositions(start?.get(partition) ?? null, lost) <= 0;
    if (first && !seen.has(partition) && startsWithIt)
      uncheckedBefore = Math.max(uncheckedBefore ?? 0, bucketOf('1d', first.receivedAt) + width);
    seen.add(partition);
    const upTo = consumed.get(partition) ?? null;
    for (const event of events) {
      if (!countsAsReading(event)) continue;
      const { deviceId, receivedAt } = arrivalOf(event);
      if (receivedAt < scope.from || receivedAt >= scope.to) continue;
      if (scope.deviceId !== undefined && deviceId !== scope.deviceId) continue;
      if (scope.includes?.(deviceId) === false) continue;
      const inFlight = comparePositions(event.position, upTo) > 0 ? 1 : 0;
      entries.add(deviceId, receivedAt, { accepted: 1, inFlight });
    }
    // A producer's clock that is wrong is no reason to stop.
    const isBehind = (at: number) => at >= scope.to + atMostApart && at <= now + atMostApart;
    return events.every(({ receivedAt }) => isBehind(receivedAt)) ? 'enough' : undefined;
  });
  // Nothing says until when events came to a partition all of which has expired.
  for (const [partition, position] of expired)
    if (position !== null && comparePositions(ends.get(partition) ?? null, position) <= 0)
      uncheckedBefore = bucketOf('1d', now) + width;
  return uncheckedBefore;
}

function newReport() {
  const totals = { ...noCounts };
  const days = new Map<number, { day: number } & AuditCounts>();
  const entries: AuditEntry[] = [];
  const differences: Difference[] = [];
  let differenceCount = 0;
  let uncheckedBefore: number | null = null;
  const addDifference = (difference: Difference) => {
    differenceCount += 1;
    if (differences.length < maxReported) differences.push(difference);
  };

  return {
    add(found: AuditEntries, unchecked: number | null, gone: ReadonlySet<string>): void {
      uncheckedBefore = unchecked;
      for (const entry of found.derived())
        if (!entry.isEqual && !gone.has(entry.deviceId)) addDifference(derivedDifference(entry));
      for (const entry of found.values()) {
        if (entry.day < (unchecked ?? Number.NEGATIVE_INFINITY)) continue;
        const { deviceId: _, day, ...counts } = entry;
        addCounts(totals, counts);
        const ofDay = days.get(day) ?? { day, ...noCounts };
        days.set(day, ofDay);
        addCounts(ofDay, counts);
        if (entries.length < maxReported) entries.push(entry);
        for (const difference of differencesOf(entry)) addDifference(difference);
      }
    },

    done: (totalDifferences: readonly TotalDifference[]): AuditReport => ({
      totals,
      days: [...days.values()].sort((a, b) => a.day - b.day),
      entries: entries.sort(byDeviceAndDay),
      differenceCount: differenceCount + totalDifferences.length,
      totalDifferences,
      differences: differences.sort(byDeviceAndDay),
      uncheckedBefore,
    }),
  };
}

function differencesOf(entry: AuditEntry): readonly Difference[] {
  const { deviceId, day, accepted, stored, duplicate, corrected, deadLettered, late, inFlight } = entry;
  const { retracted, expired, rows } = entry;
  const accountedFor = stored + duplicate + corrected + deadLettered + late + inFlight;
  const deviceRetention = stored - retracted - expired;
  return [
    ...(accountedFor === accepted
      ? []
      : [{ deviceId, day, kind: 'unaccounted', expected: accepted, found: accountedFor } as const]),
    ...(rows === deviceRetention
      ? []
      : [{ deviceId, day, kind: 'rows', expected: deviceRetention, found: rows } as const]),
  ];
}

const derivedDifference = ({ deviceId, day, table, expected, found }: DerivedEntry): Difference => ({
  deviceId,
  day,
  kind: derivedKinds[table],
  expected,
  found,
});

function addCounts(to: { -readonly [Key in keyof AuditCounts]: number }, counts: AuditCounts): void {
  for (const name of Object.keys(noCounts) as (keyof AuditCounts)[]) to[name] += counts[name];
}

function byDeviceAndDay(
  a: { readonly deviceId: string; readonly day: number },
  b: { readonly deviceId: string; readonly day: number },
): number {
  return a.deviceId === b.deviceId ? a.day - b.day : a.deviceId < b.deviceId ? -1 : 1;
}
