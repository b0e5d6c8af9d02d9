import { setImmediate as nextTurn } from 'node:timers/promises';
import type {
  Batch,
  BatchConsumer,
  EventSource,
  Positioned,
  RunOptions,
} from '../../application/ports/event-source.ts';
import type { Position, SourceName } from '../../application/ports/position.ts';
import { CommitSignal, pause } from './commit-signal.ts';

/** Reads a log whose positions count from 1 without a gap. */
export type LogReader<Event extends Positioned> = {
  readonly name: SourceName;
  readonly path: string;
  /** The events behind `position`, at most a batch of them. */
  after(position: number): readonly Event[];
  /** The position of the last event, 0 when there is none. */
  end(): number;
  close(): void;
};

export type SourceOptions = {
  /** How many events a batch may have. */
  readonly batchEvents: number;
  /** How much stored text; the row that goes beyond it is still in the batch. */
  readonly batchBytes: number;
  /** Milliseconds from one batch to the next unless it is full: a transaction for each commit would cost far more. */
  readonly batchInterval: number;
  /** Milliseconds before a batch is tried again, one for each time; after the last the consumer's error ends the run. */
  readonly retryPauses: readonly number[];
};

export const sourceDefaults: SourceOptions = {
  batchEvents: 10_000,
  batchBytes: 16 * 1024 * 1024,
  batchInterval: 25,
  retryPauses: [20, 100, 500, 2000, 5000],
};

/**
 * Other processes cannot be heard: their commits are seen at the latest after this many milliseconds. All sources look
 * at the same moments, so that an idle thread wakes up once for all of them.
 */
const pollInterval = 500;

const partition = 0;

/** Where reading stands, and what was read from there on. */
type Reading<Event> = { readonly at: number; readonly ahead: readonly Event[] };

/** Reads a SQLite file as an EventSource of one partition. Groups do not share: each run gets every event. */
export class SqliteSource<Event extends Positioned> implements EventSource<Event> {
  readonly name: SourceName;
  readonly #reader: LogReader<Event>;
  readonly #signal: CommitSignal;
  readonly #closing = new AbortController();
  readonly #runs = new Set<Promise<void>>();
  readonly #options: SourceOptions;

  constructor(reader: LogReader<Event>, options: SourceOptions) {
    this.name = reader.name;
    this.#reader = reader;
    this.#options = options;
    this.#signal = new CommitSignal(reader.path);
  }

  run(consumer: BatchConsumer<Event>, { signal }: RunOptions): Promise<void> {
    const run = this.#run(consumer, AbortSignal.any([signal, this.#closing.signal]));
    const ended = run.then(
      () => undefined,
      () => undefined,
    );
    this.#runs.add(ended);
    ended.then(() => this.#runs.delete(ended));
    return run;
  }

  async ends(): Promise<ReadonlyMap<number, Position | null>> {
    const end = this.#reader.end();
    return new Map([[partition, end === 0 ? null : String(end)]]);
  }

  /** The file keeps everything for ever. */
  async expired(): Promise<ReadonlyMap<number, Position | null>> {
    return new Map([[partition, null]]);
  }

  async partitioner(): Promise<() => number> {
    return () => partition;
  }

  async countAfter(_partition: number, position: Position | null): Promise<number> {
    return Math.max(0, this.#reader.end() - this.#numberOf(position));
  }

  /** Stops what runs, once the batch under way is done. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await Promise.all(this.#runs);
    this.#signal.close();
    this.#reader.close();
  }

  async #run(consumer: BatchConsumer<Event>, signal: AbortSignal): Promise<void> {
    let failures = 0;
    let reading: Reading<Event> | undefined;
    while (!signal.aborted) {
      try {
        reading ??= { at: this.#known(await consumer.checkpoint(partition)), ahead: [] };
        reading = await this.#step(consumer, reading, signal);
        failures = 0;
      } catch (error) {
        const wait = this.#options.retryPauses[failures];
        if (wait === undefined || error instanceof CheckpointOfAnotherLog) throw error;
        failures += 1;
        reading = undefined;
        await pause(wait, signal);
      }
    }
  }

  /** Hands over the next batch, or waits until there may be one. Answers where reading then stands. */
  async #step(
    consumer: BatchConsumer<Event>,
    { at, ahead }: Reading<Event>,
    signal: AbortSignal,
  ): Promise<Reading<Event>> {
    const events = ahead.length > 0 ? ahead : this.#reader.after(at);
    const [first, last] = [events[0], events.at(-1)];
    if (!first || !last) {
      await this.#signal.next(pollInterval - (Date.now() % pollInterval), signal);
      return { at, ahead: [] };
    }
    const began = performance.now();
    const before = this.#numberOf(first.position) - 1;
    const end = this.#numberOf(last.position);
    const batch = { partition, after: before === 0 ? null : String(before), events };
    if (events.length >= this.#options.batchEvents)
      return { at: end, ahead: await this.#consumeAndReadOn(consumer, batch, end) };
    await consumer.consume(batch);
    const early = began + this.#options.batchInterval - performance.now();
    if (early > 0) await pause(early, signal);
    // A consumer that never waits for anything would otherwise keep timers and signals from being seen.
    else await nextTurn();
    return { at: end, ahead: [] };
  }

  /** There is more behind a full batch: it is read while the consumer waits for what it has written. */
  async #consumeAndReadOn(
    consumer: BatchConsumer<Event>,
    batch: Batch<Event>,
    end: number,
  ): Promise<readonly Event[]> {
    let ahead: Promise<readonly Event[]> | undefined;
    const handled = () => {
      ahead ??= nextTurn().then(() => this.#reader.after(end));
      // It is of no interest when the batch fails.
      ahead.catch(() => {});
    };
    await consumer.consume({ ...batch, handled });
    handled();
    return (await ahead) ?? [];
  }

  #known(checkpoint: Position | null): number {
    const at = this.#numberOf(checkpoint);
    const end = this.#reader.end();
    if (at > end) throw new CheckpointOfAnotherLog(`${this.#reader.path} ends at ${end}`, String(at));
    return at;
  }

  #numberOf(position: Position | null): number {
    if (position === null) return 0;
    if (!/^\d{1,15}$/.test(position))
      throw new CheckpointOfAnotherLog(`${this.#reader.path} counts its events`, position);
    return Number(position);
  }
}

/** Going on there would leave events out or wait for ever. */
export class CheckpointOfAnotherLog extends Error {
  override readonly name = 'CheckpointOfAnotherLog';

  constructor(fact: string, checkpoint: Position) {
    super(
      `${fact}, and cannot be read behind ${checkpoint}: put back the log that the read models were made from, or make them anew`,
    );
  }
}
