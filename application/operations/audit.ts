import { bucketOf, rollupWidth } from '../../domain/rollup.ts';
import type { AuditScope, AuditTables } from '../ports/audit.ts';
import { comparePositions, type EventSource, lastPositions } from '../ports/event-source.ts';
import type { GenerationId, LedgerCounts } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { arrivalOf, countsAsReading } from '../projections/telemetry.ts';
import { noLedgerCounts } from '../projections/telemetry-cache.ts';
import { readLog } from '../rebuild/build-consumer.ts';

export type AuditQuery = {
  readonly deviceId?: string | undefined;
  /** Of arrival, epoch milliseconds; whole UTC days are looked at. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
};

export type AuditReport = {
  readonly totals: AuditCounts;
  /** Day by day, in order. */
  readonly days: readonly ({ readonly day: number } & AuditCounts)[];
  /** Device by device and day by day, the first thousand. */
  readonly entries: readonly AuditEntry[];
  /** How many there are, and the first thousand of them. */
  readonly differenceCount: number;
  readonly differences: readonly Difference[];
  /** The log no longer has all that arrived before, epoch milliseconds; it is left out. `null` when it has all. */
  readonly uncheckedBefore: number | null;
};

export type Difference = {
  readonly deviceId: string;
  readonly day: number;
  /** `unaccounted`: readings of the log that are not in the ledger. `rows`: the table holds others than stored. */
  readonly kind: 'unaccounted' | 'rows';
  readonly expected: number;
  readonly found: number;
};

type AuditPorts = {
  readonly source: EventSource<TelemetryRecord>;
  readonly tables: AuditTables;
};

type AuditOptions = {
  readonly group: string;
  readonly signal: AbortSignal;
  /** Devices and days held in memory at once. */
  readonly mostEntries?: number;
};

const maxReported = 1000;
const width = rollupWidth['1d'];

/**
 * Recounts every accepted reading from the log, and compares the ledger and the table with it:
 * accepted = stored + duplicate + corrected + dead-lettered + late + in flight, and rows = stored - retracted -
 * expired, for each device and day. Memory does not grow with the fleet: what does not fit is left to another pass over the log.
 */
export async function audit(
  live: GenerationId,
  { deviceId, from, to }: AuditQuery,
  { source, tables }: AuditPorts,
  { group, signal, mostEntries = 500_000 }: AuditOptions,
): Promise<AuditReport> {
  const scope: AuditScope = {
    deviceId,
    from: from === undefined ? Number.MIN_SAFE_INTEGER : bucketOf('1d', from),
    to: to === undefined ? Number.MAX_SAFE_INTEGER : bucketOf('1d', to + width - 1),
  };
  const report = newReport();
  for (let start: number | undefined = 0; start !== undefined; ) {
    const entries = new AuditEntries(start, mostEntries);
    const uncheckedBefore = await count(live, scope, { source, tables }, { group, signal }, entries);
    report.add(entries.values(), uncheckedBefore);
    start = entries.next;
  }
  return report.done();
}

/** One pass over tables and log. Returns the first day that can be audited. */
async function count(
  live: GenerationId,
  scope: AuditScope,
  { source, tables }: AuditPorts,
  { group, signal }: AuditOptions,
  entries: AuditEntries,
): Promise<number | null> {
  const consumed = await tables.read(live, scope, {
    ledger: ({ deviceId, day, ...counts }) => entries.add(deviceId, day, counts),
    rows: (deviceId, day, rows) => entries.add(deviceId, day, { rows }),
    expired: (deviceId, day, expired) => entries.add(deviceId, day, { expired }),
  });
  const expired = await source.expired();
  const ends = await lastPositions(source);
  const seen = new Set<number>();
  let uncheckedBefore: number | null = null;
  await readLog(source, ends, { group, signal }, (events, partition) => {
    const [first] = events;
    if (first && !seen.has(partition) && (expired.get(partition) ?? null) !== null)
      uncheckedBefore = Math.max(uncheckedBefore ?? 0, bucketOf('1d', first.receivedAt) + width);
    seen.add(partition);
    const upTo = consumed.get(partition) ?? null;
    for (const event of events) {
      if (!countsAsReading(event)) continue;
      const { deviceId, receivedAt } = arrivalOf(event);
      if (receivedAt < scope.from || receivedAt >= scope.to) continue;
      if (scope.deviceId !== undefined && deviceId !== scope.deviceId) continue;
      const inFlight = comparePositions(event.position, upTo) > 0 ? 1 : 0;
      entries.add(deviceId, receivedAt, { accepted: 1, inFlight });
    }
  });
  return uncheckedBefore;
}

function newReport() {
  const totals = { ...noCounts };
  const days = new Map<number, { day: number } & AuditCounts>();
  const entries: AuditEntry[] = [];
  const differences: Difference[] = [];
  let differenceCount = 0;
  let uncheckedBefore: number | null = null;

  return {
    add(found: Iterable<AuditEntry>, unchecked: number | null): void {
      uncheckedBefore = unchecked;
      for (const entry of found) {
        if (entry.day < (unchecked ?? Number.NEGATIVE_INFINITY)) continue;
        const { deviceId: _, day, ...counts } = entry;
        addCounts(totals, counts);
        const ofDay = days.get(day) ?? { day, ...noCounts };
        days.set(day, ofDay);
        addCounts(ofDay, counts);
        if (entries.length < maxReported) entries.push(entry);
        for (const difference of differencesOf(entry)) {
          differenceCount += 1;
          if (differences.length < maxReported) differences.push(difference);
        }
      }
    },

    done: (): AuditReport => ({
      totals,
      days: [...days.values()].sort((a, b) => a.day - b.day),
      entries: entries.sort(byDeviceAndDay),
      differenceCount,
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

function addCounts(to: { -readonly [Key in keyof AuditCounts]: number }, counts: AuditCounts): void {
  for (const name of Object.keys(noCounts) as (keyof AuditCounts)[]) to[name] += counts[name];
}

function byDeviceAndDay(
  a: { readonly deviceId: string; readonly day: number },
  b: { readonly deviceId: string; readonly day: number },
): number {
  return a.deviceId === b.deviceId ? a.day - b.day : a.deviceId < b.deviceId ? -1 : 1;
}

/** Of one device and one UTC day of arrival. */
type AuditEntry = {
  readonly deviceId: string;
  /** Epoch milliseconds of the day's first instant. */
  readonly day: number;
} & AuditCounts;

export type AuditCounts = LedgerCounts & {
  /** Readings in the log. */
  readonly accepted: number;
  /** Of these, the ones the tables have not consumed yet. */
  readonly inFlight: number;
  /** Rows removed by retention, of those counted as stored. */
  readonly expired: number;
  /** Rows of readings in the table. */
  readonly rows: number;
};

type Counting = { -readonly [Key in keyof AuditCounts]: number };

export const noCounts: AuditCounts = {
  accepted: 0,
  inFlight: 0,
  ...noLedgerCounts,
  expired: 0,
  rows: 0,
};

const hashes = 2 ** 32;

/**
 * Entries of as many devices as fit: of those whose hash lies in a slice of all hashes. When there are more than
 * `most`, the slice is halved and the rest is left to a later pass over the log.
 */
export class AuditEntries {
  readonly #from: number;
  readonly #most: number;
  #to = hashes;
  readonly #entries = new Map<string, Counting & { deviceId: string; day: number }>();

  constructor(from: number, most: number) {
    this.#from = from;
    this.#most = most;
  }

  /** Where the next pass begins; `undefined` when this one has seen every device. */
  get next(): number | undefined {
    return this.#to === hashes ? undefined : this.#to;
  }

  add(deviceId: string, at: number, counts: Partial<AuditCounts>): void {
    if (!this.#holds(deviceId)) return;
    const day = bucketOf('1d', at);
    const key = `${day} ${deviceId}`;
    const entry = this.#entries.get(key) ?? { deviceId, day, ...noCounts };
    for (const [name, count] of Object.entries(counts)) entry[name as keyof AuditCounts] += count;
    this.#entries.set(key, entry);
    while (this.#entries.size > this.#most && this.#to - this.#from > 1) this.#halve();
  }

  values(): Iterable<AuditEntry> {
    return this.#entries.values();
  }

  #holds(deviceId: string): boolean {
    if (this.#from === 0 && this.#to === hashes) return true;
    const hash = hashOf(deviceId);
    return hash >= this.#from && hash < this.#to;
  }

  #halve(): void {
    this.#to = this.#from + Math.ceil((this.#to - this.#from) / 2);
    for (const [key, { deviceId }] of this.#entries) if (!this.#holds(deviceId)) this.#entries.delete(key);
  }
}

/** FNV-1a, 32 bits, its bits mixed so that ids that differ at their end only spread over the whole range. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
