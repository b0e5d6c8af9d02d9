import { summaryOf } from '../../application/detection/alarm-summary.ts';
import type { AlarmSummary, SummarizedChange } from '../../application/ports/detection.ts';
import { deliveryColumns } from './hook-deliveries.ts';
import type { Sql } from './sql.ts';

const second = 1000;
const minute = 60 * second;

/** A summary waits for so long for another change, and has waited for as long in all. */
const quietFor = minute;
const longest = 10 * minute;

/** The alarm of a delivery that is about many. */
const noAlarm = '';

/** Counts changes, in order, in the summaries that the hooks are sent. */
export async function addToSummaries(
  tx: Sql,
  changes: readonly SummarizedChange[],
  now: number,
): Promise<void> {
  const hookIds = new Set(changes.flatMap((change) => change.hookIds));
  for (const hookId of hookIds)
    await addToSummary(
      tx,
      hookId,
      changes.filter((change) => change.hookIds.includes(hookId)),
      now,
    );
}

async function addToSummary(
  tx: Sql,
  hookId: string,
  changes: readonly SummarizedChange[],
  now: number,
): Promise<void> {
  const [first] = changes;
  if (!first) return;
  const [open] = await tx.rows<[number, string, number]>(
    `SELECT id, announcement, created_at FROM hook_deliveries
     WHERE hook_id = ? AND state = 'gathering' AND due_at > ? ORDER BY id DESC LIMIT 1`,
    [hookId, now],
  );
  if (open) {
    const [id, text, createdAt] = open;
    const summary = summaryOf(changes, JSON.parse(text) as AlarmSummary);
    // Somebody may be counting in it too, or have taken it.
    const changed = await tx.run(
      `UPDATE hook_deliveries SET announcement = ?, due_at = ?
       WHERE id = ? AND state = 'gathering' AND announcement = ?`,
      [JSON.stringify(summary), Math.min(now + quietFor, Number(createdAt) + longest), id, text],
    );
    if (changed > 0) return;
  }
  const text = JSON.stringify(summaryOf(changes));
  await tx.write('insert', 'hook_deliveries', deliveryColumns, [
    [hookId, noAlarm, first.eventId, text, 'gathering', 0, now + quietFor, now],
  ]);
}
