import {
  type Batch,
  type BatchConsumer,
  CheckpointOfAnotherLog,
  type EventPlace,
  type EventSource,
  type LogMark,
  type Position,
  type Positioned,
} from './ports/event-source.ts';
import type { GenerationId, ReadModels } from './ports/read-models.ts';

type ComparedLog = Pick<EventSource<Positioned>, 'identity' | 'eventAt'>;

/**
 * A consumer that takes up its checkpoint only if the log is the one that the checkpoint is of. A source asks for the
 * checkpoint at each start and after each lost connection, so that is when the two are compared.
 */
export class LogGuard<Event extends Positioned> implements BatchConsumer<Event> {
  readonly #inner: BatchConsumer<Event>;
  readonly #generation: GenerationId;
  readonly #readModels: Pick<ReadModels, 'logMark'>;
  readonly #log: ComparedLog;
  #identity: string | null = null;

  constructor(
    inner: BatchConsumer<Event>,
    generation: GenerationId,
    readModels: Pick<ReadModels, 'logMark'>,
    log: ComparedLog,
  ) {
    this.#inner = inner;
    this.#generation = generation;
    this.#readModels = readModels;
    this.#log = log;
  }

  /** Throws `CheckpointOfAnotherLog`. */
  async checkpoint(partition: number): Promise<Position | null> {
    const mark = await this.#readModels.logMark(this.#generation, partition);
    this.#identity = await this.#log.identity();
    if (mark) await assertSameLog(this.#generation.projection, partition, mark, this.#identity, this.#log);
    return mark?.position ?? null;
  }

  async skipped(partition: number): Promise<EventPlace | null> {
    return (await this.#inner.skipped?.(partition)) ?? null;
  }

  async skip(...skipped: Parameters<NonNullable<BatchConsumer<Event>['skip']>>): Promise<void> {
    await this.#inner.skip?.(...skipped);
  }

  consume(batch: Batch<Event>, waiting?: () => void): Promise<void> {
    return this.#inner.consume({ ...batch, log: this.#identity }, waiting);
  }
}

/** Throws `CheckpointOfAnotherLog` where a generation is at an event that the log does not have there. */
export async function assertOwnLog(
  generation: GenerationId,
  readModels: Pick<ReadModels, 'logMark'>,
  source: ComparedLog & Pick<EventSource<Positioned>, 'ends'>,
): Promise<void> {
  const identity = await source.identity();
  for (const partition of (await source.ends()).keys()) {
    const mark = await readModels.logMark(generation, partition);
    if (mark) await assertSameLog(generation.projection, partition, mark, identity, source);
  }
}

async function assertSameLog(
  projection: string,
  partition: number,
  mark: LogMark,
  identity: string | null,
  log: ComparedLog,
): Promise<void> {
  const difference = await differenceFrom(mark, partition, identity, log);
  if (difference === undefined) return;
  throw new CheckpointOfAnotherLog(
    `${projection} has stopped at ${mark.position} in partition ${partition}, since ${difference}, as after a restore: ` +
      `put back the log that it was made from, or run \`fieldlog projections rebuild ${projection}\``,
  );
}

/** How the log differs from the one that the mark is of; `undefined` when it does not. */
export async function differenceFrom(
  { position, eventId, log }: LogMark,
  partition: number,
  identity: string | null,
  source: ComparedLog,
): Promise<string | undefined> {
  if (log !== null && identity !== null && log !== identity) return 'its log is another one than it consumed';
  const found = await source.eventAt(partition, position);
  if (found === 'none') return 'its log ends before that or has no event there';
  const isOther = found !== 'unknown' && eventId !== null && comparableId(found.id) !== eventId;
  return isOther ? 'its log has another event there than it consumed' : undefined;
}

/** What the tables can hold of any event's id, whoever wrote it. */
export const comparableId = (id: string): string => id.slice(0, 160).replace(/[^\x20-\x7e]/g, '?');
