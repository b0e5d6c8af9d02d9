import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { PartitionPosition } from '../../application/ports/position.ts';
import {
  type TelemetryLog,
  TelemetryLogUnavailable,
  type TelemetryPublication,
} from '../../application/ports/telemetry-log.ts';
import { openSqliteFile } from './sqlite-file.ts';
import { telemetryFile } from './telemetry-file.ts';
import type { Batch, Order, Outcome } from './telemetry-log-thread.ts';

type Waiting = {
  readonly batch: Batch;
  readonly resolve: (last: number) => void;
  readonly reject: (error: unknown) => void;
};

/**
 * A TelemetryLog in one SQLite file, which several processes may have open. Its one partition is number 0.
 *
 * A thread of its own waits for the disk. While it commits one group of publications the next one gathers, so the
 * more there are, the more of them share a commit.
 */
export class SqliteTelemetryLog implements TelemetryLog {
  readonly #path: string;
  #thread: Worker | undefined;
  #waiting: Waiting[] = [];
  /** Groups the thread has not answered yet, in order: one, but for when the log is being closed. */
  #sent: (readonly Waiting[])[] = [];
  #closed = false;

  /** Throws `StartupError`. */
  constructor(path: string) {
    this.#path = path;
    // What is wrong with the file is told here and now, not by a thread later on.
    openSqliteFile(telemetryFile(path)).close();
    this.#thread = this.#start();
  }

  async publish(publication: TelemetryPublication): Promise<readonly PartitionPosition[]> {
    if (this.#closed) throw new TelemetryLogUnavailable('The telemetry log is closed');
    const count = publication.events.length;
    if (count === 0) return [];
    const batch = { count, body: bodyOf(publication) };
    const last = await new Promise<number>((resolve, reject) => {
      // Whatever else this turn of the event loop brings shall be in the same group.
      if (this.#waiting.push({ batch, resolve, reject }) === 1) setImmediate(() => this.#sendNext());
    });
    return [{ partition: 0, position: String(last) }];
  }

  /** What was handed over before is committed first. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const thread = this.#thread;
    if (!thread) return;
    const exited = once(thread, 'exit');
    if (this.#waiting.length > 0) this.#send(thread);
    thread.postMessage('close' satisfies Order);
    await exited;
  }

  #sendNext(): void {
    if (this.#waiting.length === 0 || this.#sent.length > 0) return;
    this.#thread ??= this.#start();
    this.#send(this.#thread);
  }

  #send(thread: Worker): void {
    const group = this.#waiting;
    this.#waiting = [];
    this.#sent.push(group);
    thread.postMessage(group.map(({ batch }) => batch) satisfies Order);
  }

  #start(): Worker {
    const thread = new Worker(new URL('./telemetry-log-thread.ts', import.meta.url), {
      workerData: this.#path,
    });
    let cause: unknown;
    thread.on('error', (error) => {
      cause = error;
    });
    thread.on('message', (outcome: Outcome) => {
      settle(this.#sent.shift() ?? [], outcome);
      this.#sendNext();
    });
    thread.on('exit', () => {
      this.#thread = undefined;
      const lost = new TelemetryLogUnavailable('The thread that writes the telemetry log ended', 1, {
        cause,
      });
      for (const { reject } of this.#sent.splice(0).flat()) reject(lost);
      this.#sendNext();
    });
    return thread;
  }
}

function settle(group: readonly Waiting[], outcome: Outcome): void {
  if ('positions' in outcome) {
    for (const [i, { resolve }] of group.entries()) resolve(outcome.positions[i] as number);
    return;
  }
  const error = 'unavailable' in outcome ? new TelemetryLogUnavailable(outcome.unavailable) : outcome.failed;
  for (const { reject } of group) reject(error);
}

/** The publication as JSON, without making JSON anew of events that came as such. */
function bodyOf({ events, eventsJson, ...said }: TelemetryPublication): string {
  return `${JSON.stringify(said).slice(0, -1)},"events":${eventsJson ?? JSON.stringify(events)}}`;
}
