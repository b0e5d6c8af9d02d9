import { bucketOf } from '../../domain/rollup.ts';
import type { LedgerCounts } from '../ports/read-models.ts';
import { noLedgerCounts } from '../projections/telemetry-ledger.ts';

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
  /** Rows that were removed because points are kept no longer, of those counted as stored. */
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
 * `most`, the slice is halved and what falls out of it is left to a later pass over the log.
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
