import { resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { BroadcastChannel } from 'node:worker_threads';
import { pause } from '../../application/pause.ts';
import {
  type BatchConsumer,
  CheckpointOfAnotherLog,
  type EventAt,
  type EventCount,
  type EventSource,
  exactly,
  OperatorNeeded,
  type Position,
  type Positioned,
  type RunOptions,
  type SourceName,
} from '../../application/ports/event-source.ts';
import { readingError } from './errors.ts';
import type { FileState } from './file-state.ts';
import { OpenFile } from './open-file.ts';

/** Reads a log whose positions grow; without `countAfter` they count from 1 without a gap. */
export type LogReader<Event extends Positioned> = {
  readonly name: SourceName;
  readonly path: string;
  /** Of the log's file. */
  readonly state: FileState;
  /** The events behind `position`, at most `limit` and at most a batch of them. */
  after(position: number, limit?: number): readonly Event[];
  idOf(event: Event): string;
  /** Given to the log when its file was made. */
  identity(): string;
  /** The position of the last event, 0 when there is none. */
  end(): number;
  /** The last position up to which every event had come before a moment, 0 when none had. */
  before?(time: number): number;
  /** How many events are behind `position`; only of a log that has gaps, where a missing event is not noticed. */
  countAfter?(position: number): number;
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

const isOwnPosition = (position: Position): boolean => /^\d{1,15}$/.test(position);

/** Reads a SQLite file as an EventSource of one partition. Groups do not share: each run gets every event. */
export class SqliteSource<Event extends Positioned> implements EventSource<Event> {
  readonly name: SourceName;
  readonly #reader: LogReader<Event>;
  readonly #file: OpenFile;
  readonly #signal: CommitSignal;
  readonly #closing = new AbortController();
  readonly #runs = new Set<Promise<void>>();
  readonly #options: SourceOptions;

  constructor(reader: LogReader<Event>, options: SourceOptions) {
    this.name = reader.name;
    this.#reader = reader;
    this.#options = options;
    this.#file = new OpenFile(reader.path, { state: reader.state, onlyGrows: true });
    this.#signal = new CommitSignal(reader.path);
  }

  run(
    consumer: BatchConsumer<Event>,
    { signal, batchEvents = this.#options.batchEvents }: RunOptions,
  ): Promise<void> {
    const run = this.#run(consumer, batchEvents, AbortSignal.any([signal, this.#closing.signal]));
    const ended = run.then(
      () => undefined,
      () => undefined,
    );
    this.#runs.add(ended);
    ended.then(() => this.#runs.delete(ended));
    return run;
  }

  /** Throws `FileReplaced`. */
  async ends(): Promise<ReadonlyMap<number, Position | null>> {
    this.#file.assertInPlace();
    const end = this.#read((reader) => reader.end());
    return new Map([[partition, end === 0 ? null : String(end)]]);
  }

  /** The file keeps everything for ever. */
  async expired(): Promise<ReadonlyMap<number, Position | null>> {
    return new Map([[partition, null]]);
  }

  async positionsBefore(time: number): Promise<ReadonlyMap<number, Position | null>> {
    const position = this.#read((reader) => reader.before?.(time) ?? 0);
    return new Map([[partition, position === 0 ? null : String(position)]]);
  }

  async partitioner(): Promise<() => number> {
    return () => partition;
  }

  async identity(): Promise<string> {
    return this.#read((reader) => reader.identity());
  }

  async eventAt(_partition: number, position: Position): Promise<EventAt> {
    const [event] = isOwnPosition(position)
      ? this.#read((reader) => reader.after(Number(position) - 1, 1))
      : [];
    return event ? { id: this.#reader.idOf(event) } : 'none';
  }

  async countAfter(_partition: number, position: Position | null): Promise<EventCount> {
    return this.#read((reader) => {
      const at = this.#numberOf(position);
      return exactly(reader.countAfter?.(at) ?? Math.max(0, reader.end() - at));
    });
  }

  /** Stops the runs after their current batch. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await Promise.all(this.#runs);
    this.#signal.close();
    this.#reader.close();
  }

  /** Throws `FileDamaged`. */
  #read<T>(work: (reader: LogReader<Event>) => T): T {
    try {
      return work(this.#reader);
    } catch (error) {
      throw readingError(error, this.#reader.path);
    }
  }

  async #run(consumer: BatchConsumer<Event>, batchEvents: number, signal: AbortSignal): Promise<void> {
    let failures = 0;
    let at: number | undefined;
    /** The batches that are not stored yet, two at most. */
    let underWay: Promise<void> | undefined;
    this.#signal.listen();
    while (!signal.aborted) {
      try {
        this.#file.assertInPlace();
        at ??= this.#known(await consumer.checkpoint(partition));
        const from = at;
        const events = this.#read((reader) => reader.after(from, batchEvents));
        const last = events.at(-1);
        if (!last) {
          // More may come while something is stored, and would not be heard of.
          if (underWay) await underWay;
          else await this.#signal.next(pollInterval - (Date.now() % pollInterval), signal);
          underWay = undefined;
          continue;
        }
        const began = performance.now();
        const { handled, stored } = this.#handOver(events, at, consumer);
        const before = underWay;
        underWay = allDone([before, stored]);
        await before;
        at = this.#numberOf(last.position);
        if (failures === 0 && events.length >= batchEvents) {
          // There is more behind a full batch: it is read and handled while this one is stored.
          await Promise.race([handled, stored]);
          await nextTurn();
          continue;
        }
        await underWay;
        underWay = undefined;
        failures = 0;
        const early = began + this.#options.batchInterval - performance.now();
        if (early > 0 && events.length < batchEvents) await pause(early, signal);
        // A consumer that never waits for anything would otherwise keep timers and signals from being seen.
        else await nextTurn();
      } catch (error) {
        await underWay?.catch(() => {});
        underWay = undefined;
        const wait = this.#options.retryPauses[failures];
        if (wait === undefined || error instanceof OperatorNeeded) throw error;
        failures += 1;
        at = undefined;
        await pause(wait, signal);
      }
    }
    // What could not be stored is consumed again by the next run.
    await underWay?.catch(() => {});
  }

  #handOver(
    events: readonly Event[],
    at: number,
    consumer: BatchConsumer<Event>,
  ): { readonly handled: Promise<void>; readonly stored: Promise<void> } {
    const before = this.#reader.countAfter ? at : this.#numberOf(events[0]?.position ?? null) - 1;
    const { promise: handled, resolve } = Promise.withResolvers<void>();
    const after = before === 0 ? null : String(before);
    return { handled, stored: consumer.consume({ partition, after, events, onApplied: resolve }) };
  }

  #known(checkpoint: Position | null): number {
    const at = this.#numberOf(checkpoint);
    const end = this.#read((reader) => reader.end());
    if (at > end) throw new CheckpointOfAnotherLog(`${this.#reader.path} ends at ${end}, before ${at}`);
    return at;
  }

  #numberOf(position: Position | null): number {
    if (position === null) return 0;
    if (!isOwnPosition(position))
      throw new CheckpointOfAnotherLog(
        `${this.#reader.path} has no position ${position}: it counts its events`,
      );
    return Number(position);
  }
}

/** Settles when all have; rejects with what the first of them that failed did. May be left alone. */
function allDone(work: readonly (Promise<void> | undefined)[]): Promise<void> {
  const done = Promise.allSettled(work).then(async () => {
    for (const one of work) await one;
  });
  done.catch(() => {});
  return done;
}

/**
 * Wakes the readers of a file, in whichever thread of the process they run, when something was committed to it. The
 * first message that a thread receives loads Node's fetch there, for the class of its event: 6 MiB of heaps.
 */
export class CommitSignal {
  readonly #path: string;
  #channel: BroadcastChannel | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(path: string) {
    this.#path = path;
  }

  announce(): void {
    this.#open().postMessage(null);
  }

  /** From now on `next` knows of commits. */
  listen(): void {
    this.#open();
  }

  #open(): BroadcastChannel {
    if (this.#channel) return this.#channel;
    this.#channel = new BroadcastChannel(`fieldlog ${resolve(this.#path)}`);
    this.#channel.unref();
    this.#channel.onmessage = () => {
      for (const wake of [...this.#waiting]) wake();
    };
    return this.#channel;
  }

  /** Resolves at the next commit, when `signal` aborts, or after `atMost` milliseconds. */
  next(atMost: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, atMost);
      signal.addEventListener('abort', wake);
      this.#waiting.add(wake);
    });
  }

  close(): void {
    this.#channel?.close();
  }
}
