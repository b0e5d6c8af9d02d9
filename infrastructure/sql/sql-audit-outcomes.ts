import type { AuditOutcome, AuditOutcomes } from '../../application/ports/audit.ts';
import type { SqlDatabase } from './sql.ts';

export const sqlAuditOutcomes = (db: SqlDatabase): AuditOutcomes => ({
  keep: ({ at, differences }) =>
    db.write(
      'replace',
      'audits',
      ['projection', 'ended_at', 'differences'],
      [['telemetry', at, differences]],
    ),

  async last() {
    const [outcome] = await db.all<AuditOutcome>(
      `SELECT ended_at AS "at", differences FROM audits WHERE projection = 'telemetry'`,
    );
    return outcome;
  },
});
