import type { AuditOutcome, AuditOutcomes, AuditTables } from '../../application/ports/audit.ts';
import { rollupWidth } from '../../domain/rollup.ts';
import { tableOf } from './generation-tables.ts';
import type { SqlDatabase } from './sql.ts';

type LedgerColumns = [string, number, number, number, number, number, number, number];

const width = rollupWidth['1d'];

export const sqlAuditTables = (db: SqlDatabase): AuditTables => ({
  read: ({ projection, generation }, { deviceId, from, to }, visit) =>
    db.snapshot(async (sql) => {
      const ofDevice = deviceId === undefined ? '' : 'AND device_id = ?';
      const params = [from, to, ...(deviceId === undefined ? [] : [deviceId])];
      const checkpoints = await sql.rows<[number, string | null]>(
        'SELECT part, position FROM checkpoints WHERE projection = ? AND generation = ?',
        [projection, generation],
      );
      const ledger = `SELECT device_id, day, stored_count, duplicate, corrected, dead_lettered, late, retracted
        FROM ${tableOf('telemetry_ledger', generation)} WHERE day >= ? AND day < ? ${ofDevice}`;
      for await (const rows of sql.stream<LedgerColumns>(ledger, params))
        for (const [device, day, stored, duplicate, corrected, deadLettered, late, retracted] of rows)
          visit.ledger({
            deviceId: device,
            day,
            stored,
            duplicate,
            corrected,
            deadLettered,
            late,
            retracted,
          });
      const expired = `SELECT device_id, day, expired FROM ${tableOf('telemetry_expired', generation)}
        WHERE day >= ? AND day < ? ${ofDevice}`;
      for await (const rows of sql.stream<[string, number, number]>(expired, params))
        for (const [device, day, count] of rows) visit.expired(device, day, count);
      const readings = `SELECT device_id, received_at - received_at % ${width} AS day, COUNT(*)
        FROM ${tableOf('telemetry', generation)} WHERE received_at >= ? AND received_at < ? ${ofDevice}
        GROUP BY device_id, received_at - received_at % ${width}`;
      for await (const rows of sql.stream<[string, number, number]>(readings, params))
        for (const [device, day, count] of rows) visit.rows(device, Number(day), Number(count));
      return new Map(
        checkpoints.flatMap(([part, position]) => (position === null ? [] : [[part, position]])),
      );
    }),
});

export const sqlAuditOutcomes = (db: SqlDatabase): AuditOutcomes => ({
  save: ({ at, differences }) =>
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
