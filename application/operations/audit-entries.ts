import { bucketOf, type RollupLevel } from '../../domain/rollup.ts';
import type { LedgerCounts } from '../ports/read-models.ts';
import { noLedgerCounts } from '../projections/telemetry-cache.ts';

/** Of one device and one UTC day of arrival. */
export type AuditEntry = {
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

export const noCounts: AuditCounts = {
  accepted: 0,
  inFlight: 0,
  ...noLedgerCounts,
  expired: 0,
  rows: 0,
};

/** Newest values and rollups, each a function of the level below it and, in the end, of the points. */
export type DerivedTable = 'latest' | RollupLevel;

/** What a derived table says of one device and one UTC day of the device's time. */
export type DerivedEntry = {
  readonly deviceId: string;
  readonly day: number;
  readonly table: DerivedTable;
  /** Points in the rollups, or newest values: by the level below, and by the table. */
  readonly expected: number;
  readonly found: number;
  /** Whether the table holds the same values as the level below says. */
  readonly isEqual: boolean;
};

type Counting = { -readonly [Key in keyof AuditCounts]: number };
type Comparing = { deviceId: string; day: number; table: DerivedTable; sums: [number, number]; hash: number };

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
  readonly #derived = new Map<string, Comparing>();

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
    this.#shrink();
  }

  /**
   * Adds what one side says of a derived table: `points` of them, as `value`. The order does not matter. Values are
   * compared by their hashes, so that memory does not grow with buckets and metrics.
   */
  derive(
    table: DerivedTable,
    side: 'expected' | 'found',
    { deviceId, at }: { readonly deviceId: string; readonly at: number },
    points: number,
    value: unknown,
  ): void {
    if (!this.#holds(deviceId)) return;
    const day = bucketOf('1d', at);
    const key = `${table} ${day} ${deviceId}`;
    const entry = this.#derived.get(key) ?? { deviceId, day, table, sums: [0, 0], hash: 0 };
    const hash = hashOf(JSON.stringify([at, value]));
    entry.sums[side === 'expected' ? 0 : 1] += points;
    entry.hash = (entry.hash + (side === 'expected' ? hash : hashes - hash)) % hashes;
    this.#derived.set(key, entry);
    this.#shrink();
  }

  values(): Iterable<AuditEntry> {
    return this.#entries.values();
  }

  *derived(): Iterable<DerivedEntry> {
    for (const { deviceId, day, table, sums, hash } of this.#derived.values())
      yield { deviceId, day, table, expected: sums[0], found: sums[1], isEqual: hash === 0 };
  }

  #holds(deviceId: string): boolean {
    if (this.#from === 0 && this.#to === hashes) return true;
    const hash = hashOf(deviceId);
    return hash >= this.#from && hash < this.#to;
  }

  #shrink(): void {
    while (this.#entries.size + this.#derived.size > this.#most && this.#to - this.#from > 1) this.#halve();
  }

  #halve(): void {
    this.#to = this.#from + Math.ceil((this.#to - this.#from) / 2);
    for (const entries of [this.#entries, this.#derived])
      for (const [key, { deviceId }] of entries) if (!this.#holds(deviceId)) entries.delete(key);
  }
}

/** Whether a device is in a sample: a share of all devices, another one for each `seed`. */
export const isInSample = (deviceId: string, share: number, seed: string): boolean =>
  hashOf(`${seed} ${deviceId}`) < share * hashes;

/** FNV-1a, 32 bits, its bits mixed so that ids that differ at their end only spread over the whole range. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
