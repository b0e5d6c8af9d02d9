import { rollupWidth } from '../../domain/telemetry/rollup.ts';
import type { Retraction } from '../../domain/telemetry/telemetry-event.ts';
import type { LatestRow, ReadingRow, TelemetryTables } from '../ports/read-models.ts';
import type { TelemetryCache } from './telemetry-cache.ts';
import { countLedger, ledgerChanges } from './telemetry-ledger.ts';
import { rebuildRollups } from './telemetry-rollups.ts';

/** Takes points back: rows lose the metric, rows left with none go, newest values and rollups follow. */
export async function retract(
  { deviceId, metric, from, to }: Retraction,
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  // An hour at a time, and only hours that have readings: a retraction may span years.
  const width = rollupWidth['1h'];
  for (const { bucket } of await tables.rollupsBetween('1h', deviceId, from - width + 1, to)) {
    const start = Math.max(from, bucket);
    const end = Math.min(to, bucket + width);
    const rows = await tables.readingsBetween(deviceId, start, end);
    const left = rows.map((row) => without(row, metric));
    const isEmpty = (row: ReadingRow) => Object.keys(row.metrics).length === 0;
    const emptied = left.filter(isEmpty);
    await tables.write({
      replaced: left.filter((row, i) => row !== rows[i] && !isEmpty(row)),
      removed: emptied,
    });
    await rebuildRollups(deviceId, start, end, tables);
    const changes = ledgerChanges();
    for (const { receivedAt } of emptied) changes.of(deviceId, receivedAt).retracted += 1;
    await countLedger(changes, cache, tables);
  }
  const [newest] = await tables.latest([deviceId]);
  if (newest) await tables.write(await latestWithout(newest, from, to, metric, tables));
  cache.forget(deviceId);
}

function without(row: ReadingRow, metric: string | undefined): ReadingRow {
  if (metric === undefined) return { ...row, metrics: {} };
  if (!Object.hasOwn(row.metrics, metric)) return row;
  const { [metric]: _, ...metrics } = row.metrics;
  return { ...row, metrics };
}

/** The newest values once the range is gone: each one that stood in it gives way to the last one before it. */
async function latestWithout(
  { deviceId, metrics }: LatestRow,
  from: number,
  to: number,
  metric: string | undefined,
  tables: TelemetryTables,
): Promise<Parameters<TelemetryTables['write']>[0]> {
  const kept = new Map(metrics);
  for (const [name, [, timestamp]] of metrics) {
    if (timestamp < from || timestamp >= to || (metric !== undefined && metric !== name)) continue;
    const earlier = await tables.lastReading(deviceId, name, from);
    if (earlier) kept.set(name, [earlier.metrics[name] as never, earlier.timestamp]);
    else kept.delete(name);
  }
  const last = await tables.lastReading(deviceId, null, Number.MAX_SAFE_INTEGER);
  return last
    ? { latest: [{ deviceId, timestamp: last.timestamp, metrics: kept }] }
    : { forgotten: [deviceId] };
}
