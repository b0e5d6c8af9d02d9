import type { Metrics } from '../../domain/telemetry.ts';
import { comparePositions, type Position } from '../ports/event-source.ts';
import type { DeadLetterTable, ProjectionTables, ReadingRow, WaitingLetter } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import type { DecodedReading } from './telemetry-batch.ts';
import { type DecodedRetraction, takenBy } from './telemetry-corrections.ts';

const pageSize = 500;

type Waiting = { readonly deadLetter: WaitingLetter; readonly reading: DecodedReading | undefined };

/**
 * Readings wait for an operator while later events of their device are applied. A retry after a retraction would store
 * what it has taken back, so that the retraction settles them: one that loses all its values is returned, to be stored and
 * taken back as in the order of the log; one that loses some waits with the others. One that another reading has overtaken
 * can never be applied, and is discarded before the retraction removes the row that says so.
 */
export async function settleWaiting(
  retraction: DecodedRetraction,
  { stream, partition }: Pick<WaitingLetter, 'stream' | 'partition'>,
  decode: (event: TelemetryRecord) => DecodedReading | undefined,
  { deadLetters, telemetry }: ProjectionTables,
): Promise<readonly DecodedReading[]> {
  const waiting = await deadLettersBefore(retraction, { stream, partition }, decode, deadLetters);
  const { deviceId } = retraction.event.data;
  const times = new Set(waiting.flatMap(({ reading }) => reading?.event.data.timestamp ?? []));
  const found = await telemetry.readings([...times].map((timestamp) => ({ deviceId, timestamp })));
  const rows = new Map(found.map((row) => [row.timestamp, row]));
  const { isTaken } = takenBy(retraction);
  const { actor: by, correlationId, receivedAt: at } = retraction.logged;
  const discard = (deadLetter: WaitingLetter, reason: string) =>
    deadLetters.discard(partition, [deadLetter.position], { by, at, reason: `${reason} (${correlationId})` });
  const applied: DecodedReading[] = [];
  const positions: Position[] = [];
  for (const { deadLetter, reading } of waiting) {
    const { timestamp, metrics } = bodyOf(deadLetter);
    const left = Object.fromEntries(Object.entries(metrics).filter(([name]) => !isTaken(name, timestamp)));
    const [all, some] = [Object.keys(metrics).length, Object.keys(left).length];
    const isLost = some === 0 && (all > 0 || retraction.event.data.metric === undefined);
    const row = reading && !reading.event.data.untimed ? rows.get(timestamp) : undefined;
    if (row && reading && hasLater(row, reading))
      await discard(deadLetter, 'A later reading of its time had been applied when that was retracted');
    else if (reading && (row || isLost)) {
      applied.push(reading);
      positions.push(deadLetter.position);
    } else if (isLost) await discard(deadLetter, 'Its values were retracted before it could be read');
    else if (some < all)
      await deadLetters.replaceEvent(partition, deadLetter.position, withMetrics(deadLetter, left));
  }
  await deadLetters.remove(partition, positions);
  return applied;
}

/** Whether a reading that came after it is of the same device and time. */
export const hasLater = (row: ReadingRow, { logged }: Pick<DecodedReading, 'logged'>): boolean =>
  row.receivedAt >= logged.receivedAt || row.correctedBy !== null;

/** Waiting readings that came before the retraction and are of its time. */
async function deadLettersBefore(
  { logged, event }: DecodedRetraction,
  { stream, partition }: Pick<WaitingLetter, 'stream' | 'partition'>,
  decode: (event: TelemetryRecord) => DecodedReading | undefined,
  deadLetters: DeadLetterTable,
): Promise<readonly Waiting[]> {
  const { from, to } = event.data;
  const found: Waiting[] = [];
  for (let after = 0; ; ) {
    const page = await deadLetters.waiting(partition, stream, pageSize, after);
    for (const deadLetter of page) {
      if (deadLetter.eventType !== 'TelemetryRecorded') continue;
      if (comparePositions(deadLetter.position, logged.position) >= 0) continue;
      const { timestamp } = bodyOf(deadLetter);
      if (timestamp >= from && timestamp < to)
        found.push({ deadLetter, reading: decode(deadLetter.event as TelemetryRecord) });
    }
    const last = page.at(-1);
    if (!last || page.length < pageSize) return found;
    after = last.id;
  }
}

/** As far as it is known, for a reading that this release cannot decode waits too. */
function bodyOf({ event }: WaitingLetter): { readonly timestamp: number; readonly metrics: Metrics } {
  // Of a device that was erased there is no event any more.
  const { data } = (event ?? {}) as { readonly data?: unknown };
  const { timestamp, metrics } = (data ?? {}) as { readonly timestamp?: unknown; readonly metrics?: unknown };
  return {
    timestamp: typeof timestamp === 'number' ? timestamp : Number.NaN,
    metrics: (typeof metrics === 'object' && metrics !== null ? metrics : {}) as Metrics,
  };
}

function withMetrics({ event }: WaitingLetter, metrics: Metrics): unknown {
  const { data, ...rest } = event as { readonly data: object };
  return { ...rest, data: { ...data, metrics } };
}
