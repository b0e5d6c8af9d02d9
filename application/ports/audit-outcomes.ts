export type AuditOutcome = {
  /** When it ended, epoch milliseconds. */
  readonly at: number;
  /** Devices and days for which the ledger, the table or the log say otherwise than the others. */
  readonly differences: number;
};

/** How the last audit of everything ended, whoever ran it. Calls throw `ReadModelsUnavailable`. */
export interface AuditOutcomes {
  keep(outcome: AuditOutcome): Promise<void>;
  /** `undefined` before the first audit. */
  last(): Promise<AuditOutcome | undefined>;
}
