import type { Metrics } from '../../domain/telemetry.ts';
import { comparePositions, type Position } from '../ports/event-source.ts';
import type { DeadLetterTable, ProjectionTables, ReadingRow, WaitingLetter } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import type { DecodedReading } from './telemetry-batch.ts';
import { type DecodedRetraction, takenBy } from './telemetry-corrections.ts';

const lettersAtOnce = 500;

type Waiting = { readonly letter: WaitingLetter; readonly reading: DecodedReading | undefined };

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
  const waiting = await lettersBefore(retraction, { stream, partition }, decode, deadLetters);
  const { deviceId } = retraction.event.data;
  const times = new Set(waiting.flatMap(({ reading }) => reading?.event.data.timestamp ?? []));
  const found = await telemetry.readings([...times].map((timestamp) => ({ deviceId, timestamp })));
  const rows = new Map(found.map((row) => [row.timestamp, row]));
  const { isTaken } = takenBy(retraction);
  const { actor: by, correlationId, receivedAt: at } = retraction.logged;
  const discard = (letter: WaitingLetter, reason: string) =>
    deadLetters.discard(partition, [letter.position], { by, at, reason: `${reason} (${correlationId})` });
  const applied: DecodedReading[] = [];
  const positions: Position[] = [];
  for (const { letter, reading } of waiting) {
    const { timestamp, metrics } = bodyOf(letter);
    const left = Object.fromEntries(Object.entries(metrics).filter(([name]) => !isTaken(name, timestamp)));
    const [all, some] = [Object.keys(metrics).length, Object.keys(left).length];
    const isLost = some === 0 && (all > 0 || retraction.event.data.metric === undefined);
    const row = reading && !reading.event.data.untimed ? rows.get(timestamp) : undefined;
    if (row && reading && hasLater(row, reading))
      await discard(letter, 'A later reading of its time had been applied when that was retracted');
    else if (reading && (row || isLost)) {
      applied.push(reading);
      positions.push(letter.position);
    } else if (isLost) await discard(letter, 'Its values were retracted before it could be read');
    else if (some < all)
      await deadLetters.replaceEvent(partition, letter.position, withMetrics(letter, left));
  }
  await deadLetters.remove(partition, positions);
  return applied;
}

/** Whether a reading that came after it is of the same device and time. */
export const hasLater = (row: ReadingRow, { logged }: Pick<DecodedReading, 'logged'>): boolean =>
  row.receivedAt >= logged.receivedAt || row.correctedBy !== null;

/** Waiting readings that came before the retraction and are of its time. */
async function lettersBefore(
  { logged, event }: DecodedRetraction,
  { stream, partition }: Pick<WaitingLetter, 'stream' | 'partition'>,
  decode: (event: TelemetryRecord) => DecodedReading | undefined,
  deadLetters: DeadLetterTable,
): Promise<readonly Waiting[]> {
  const { from, to } = event.data;
  const found: Waiting[] = [];
  for (let after = 0; ; ) {
    const letters = await deadLetters.waiting(partition, stream, lettersAtOnce, after);
    for (const letter of letters) {
      if (letter.eventType !== 'TelemetryRecorded') continue;
      if (comparePositions(letter.position, logged.position) >= 0) continue;
      const { timestamp } = bodyOf(letter);
      if (timestamp >= from && timestamp < to)
        found.push({ letter, reading: decode(letter.event as TelemetryRecord) });
    }
    const last = letters.at(-1);
    if (!last || letters.length < lettersAtOnce) return found;
    after = last.id;
  }
}

/** As far as it can be told, for a reading that this release cannot decode waits too. */
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
