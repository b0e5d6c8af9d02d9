import type { PartitionPosition } from '../../application/ports/event-source.ts';
import {
  type TelemetryLog,
  TelemetryLogUnavailable,
  type TelemetryPublication,
} from '../../application/ports/telemetry-log.ts';
import { openSqliteFile, telemetryFile } from './database-file.ts';
import type { Batch, Group, Outcome } from './telemetry-log-worker.ts';
import { deserializeError, WorkerChannel } from './worker-channel.ts';

type Waiting = {
  readonly batch: Batch;
  readonly resolve: (last: number) => void;
  readonly reject: (error: unknown) => void;
};

/** Characters of JSON that are not kept waiting for the rest of the turn, for the thread could be at work on them. */
const enoughToSend = 65_536;

/**
 * A TelemetryLog in one SQLite file, which several processes may have open. Its one partition is number 0.
 *
 * A thread of its own waits for the disk. Publications go to it in groups, and it commits all groups that have come
 * by the time it is free, so the more there are, the more of them share a commit.
 */
export class SqliteTelemetryLog implements TelemetryLog {
  readonly #path: string;
  #thread: WorkerChannel<Group, Outcome>;
  #waiting: Waiting[] = [];
  /** Of what is waiting. */
  #characters = 0;
  #closed = false;

  /** Throws `StartupError`. */
  constructor(path: string) {
    this.#path = path;
    // What is wrong with the file is told here and now, not by a thread later on.
    openSqliteFile(telemetryFile(path)).close();
    this.#thread = threadOf(path);
  }

  async publish(publication: TelemetryPublication): Promise<readonly PartitionPosition[]> {
    if (this.#closed) throw new TelemetryLogUnavailable('The telemetry log is closed');
    const count = publication.events.length;
    if (count === 0) return [];
    const batch = { count, body: bodyOf(publication) };
    const last = await new Promise<number>((resolve, reject) => {
      this.#characters += batch.body.length;
      const waiting = this.#waiting.push({ batch, resolve, reject });
      if (this.#characters >= enoughToSend) this.#send();
      // Whatever else this turn of the event loop brings shall be in the same group.
      else if (waiting === 1) setImmediate(() => this.#send());
    });
    return [{ partition: 0, position: String(last) }];
  }

  /** What was handed over before is committed first. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#send();
    await this.#thread.end();
  }

  #send(): void {
    if (this.#waiting.length === 0) return;
    const group = this.#waiting;
    this.#waiting = [];
    this.#characters = 0;
    if (this.#thread.hasEnded) this.#thread = threadOf(this.#path);
    this.#thread.ask(group.map(({ batch }) => batch)).then(
      (outcome) => settle(group, outcome),
      (error) => settle(group, { failed: error }),
    );
  }
}

const threadOf = (path: string) =>
  new WorkerChannel<Group, Outcome>(
    new URL('./telemetry-log-worker.ts', import.meta.url),
    path,
    (cause) => new TelemetryLogUnavailable('The thread that writes the telemetry log ended', 1, { cause }),
  );

function settle(group: readonly Waiting[], outcome: Outcome): void {
  if ('positions' in outcome) {
    for (const [i, { resolve }] of group.entries()) resolve(outcome.positions[i] as number);
    return;
  }
  const error = deserializeError(outcome, TelemetryLogUnavailable);
  for (const { reject } of group) reject(error);
}

/** The publication as JSON, without making JSON anew of events that came as such. */
function bodyOf({ events, eventsJson, ...header }: TelemetryPublication): string {
  return `${JSON.stringify(header).slice(0, -1)},"events":${eventsJson ?? JSON.stringify(events)}}`;
}
