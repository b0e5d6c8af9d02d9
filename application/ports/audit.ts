import type { Position } from './event-source.ts';
import type { GenerationId, LedgerRow } from './read-models.ts';

export type AuditScope = {
  readonly deviceId?: string | undefined;
  /** Days of arrival, epoch milliseconds of their first instants, `to` exclusive. */
  readonly from: number;
  readonly to: number;
};

/** What the tables say of the readings they have taken. */
export interface AuditTables {
  /**
   * Hands over every row of the ledger, and for each device and day of arrival how many rows of readings there are
   * and how many have expired, all in one snapshot; returns the checkpoints of that snapshot. Throws `ReadModelsUnavailable`.
   */
  read(
    generation: GenerationId,
    scope: AuditScope,
    visit: {
      ledger(row: LedgerRow): void;
      rows(deviceId: string, day: number, count: number): void;
      expired(deviceId: string, day: number, count: number): void;
    },
  ): Promise<ReadonlyMap<number, Position>>;
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
