import type { Position } from './event-source.ts';
import type {
  GenerationId,
  LatestRow,
  LedgerRow,
  LedgerTotals,
  ReadingRow,
  RollupRow,
} from './read-models.ts';

export type AuditScope = {
  readonly deviceId?: string | undefined;
  /** Of the devices that the ledger or the newest values know, these. */
  readonly includes?: (deviceId: string) => boolean;
  /** Days, epoch milliseconds of their first instants, `to` exclusive. */
  readonly from: number;
  readonly to: number;
};

export type AuditedReading = Pick<ReadingRow, 'deviceId' | 'timestamp' | 'receivedAt' | 'metrics'>;

/** Rows of readings, newest values and rollups come device by device, each device's in order of time. */
export type AuditVisitor = {
  ledger(row: LedgerRow): void;
  expired(deviceId: string, day: number, count: number): void;
  /** Those that arrived in the range, and those of the range in the device's time. */
  readings(rows: readonly AuditedReading[]): Promise<void>;
  rollups(rows: readonly RollupRow[]): Promise<void>;
  latest(rows: readonly LatestRow[]): Promise<void>;
  /** A table, or the part of it that is of some devices, is done. */
  tableEnd(): void;
};

/** What the tables say of the readings they have taken. */
export interface AuditTables {
  /**
   * Hands over every row of the ledger, of readings and of what is derived from them, all in one snapshot; returns the
   * checkpoints of that snapshot. Throws `ReadModelsUnavailable`.
   */
  read(
    generation: GenerationId,
    scope: AuditScope,
    visit: AuditVisitor,
  ): Promise<ReadonlyMap<number, Position>>;

  /** The sums of a ledger's rows and its running totals at one moment. Throws `ReadModelsUnavailable`. */
  totals(generation: GenerationId): Promise<{ readonly ledger: LedgerTotals; readonly totals: LedgerTotals }>;
}

export type AuditOutcome = {
  /** When it ended, epoch milliseconds. */
  readonly at: number;
  /** Devices and days for which the ledger, the table or the log say otherwise than the others. */
  readonly differences: number;
};

/** The outcome of the last full audit. Calls throw `ReadModelsUnavailable`. */
export interface AuditOutcomes {
  save(outcome: AuditOutcome): Promise<void>;
  /** `undefined` before the first audit. */
  last(): Promise<AuditOutcome | undefined>;
}
