import type { Position } from './position.ts';
import type { Generation, LedgerRow } from './read-models.ts';

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
   * and how many have expired, all as they stand at one moment; answers with the checkpoints of that moment. Throws `ReadModelsUnavailable`.
   */
  read(
    of: Generation,
    scope: AuditScope,
    visit: {
      ledger(row: LedgerRow): void;
      rows(deviceId: string, day: number, count: number): void;
      expired(deviceId: string, day: number, count: number): void;
    },
  ): Promise<ReadonlyMap<number, Position>>;
}
