import type { PartitionPosition } from '../../application/ports/event-source.ts';
import {
  type TelemetryLog,
  TelemetryLogUnavailable,
  type TelemetryPublication,
} from '../../application/ports/telemetry-log.ts';
import { WorkerChannel } from '../worker-channel.ts';
import { type Creation, openSqliteFile, telemetryFile } from './database-file.ts';
import { stateOfTelemetry } from './file-state.ts';
import { seenAt } from './open-file.ts';
import type { AppendedPositions, AppendRows, LogFile, TelemetryRow } from './telemetry-log-worker.ts';

type PendingPublication = {
  readonly row: TelemetryRow;
  readonly resolve: (last: number) => void;
  readonly reject: (error: unknown) => void;
};

/** Characters of JSON that are sent before the event loop's turn is over, so that the thread can begin with them. */
const sendAtCharacters = 65_536;

/**
 * A TelemetryLog in one SQLite file, which several processes may have open. Its one partition is number 0.
 *
 * A worker thread waits for the disk. Publications of one turn of the event loop are sent to it together, and it
 * commits in one transaction whatever has arrived by then: the higher the load, the more publications share a commit.
 */
export class SqliteTelemetryLog implements TelemetryLog {
  readonly #file: LogFile;
  #thread: WorkerChannel<AppendRows, AppendedPositions>;
  #pending: PendingPublication[] = [];
  /** Of the pending publications. */
  #characters = 0;
  #closed = false;

  /** Throws `StartupError`. */
  constructor(path: string, creation: Creation = {}) {
    // An unusable file is an error of the constructor, not one of the thread later on.
    openSqliteFile(telemetryFile(path), creation).close();
    this.#file = { path, seen: seenAt(path, stateOfTelemetry) };
    this.#thread = startThread(this.#file);
  }

  async publish(publication: TelemetryPublication): Promise<readonly PartitionPosition[]> {
    if (this.#closed) throw new TelemetryLogUnavailable('The telemetry log is closed');
    const count = publication.events.length;
    if (count === 0) return [];
    const row = { count, body: jsonOf(publication) };
    const last = await new Promise<number>((resolve, reject) => {
      this.#characters += row.body.length;
      const pending = this.#pending.push({ row, resolve, reject });
      if (this.#characters >= sendAtCharacters) this.#send();
      // Publications of the same turn of the event loop are sent together.
      else if (pending === 1) setImmediate(() => this.#send());
    });
    return [{ partition: 0, position: String(last) }];
  }

  /** Ends the thread, which the next publication starts again. */
  async rest(): Promise<void> {
    this.#send();
    await this.#thread.close();
  }

  /** Commits what was published before. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#send();
    await this.#thread.close();
  }

  #send(): void {
    if (this.#pending.length === 0) return;
    const sent = this.#pending;
    this.#pending = [];
    this.#characters = 0;
    if (this.#thread.hasEnded) this.#thread = startThread(this.#file);
    this.#thread.request(sent.map(({ row }) => row)).then(
      (positions) => {
        for (const [i, { resolve }] of sent.entries()) resolve(positions[i] as number);
      },
      (error) => {
        for (const { reject } of sent) reject(error);
      },
    );
  }
}

const startThread = (file: LogFile) =>
  new WorkerChannel<AppendRows, AppendedPositions>(
    new URL('./telemetry-log-worker.ts', import.meta.url),
    file,
    {
      errors: [TelemetryLogUnavailable],
      lost: (cause) =>
        new TelemetryLogUnavailable('The thread that writes the telemetry log ended', 1, { cause }),
    },
  );

/** The publication as JSON; events that came as JSON are not serialized again. */
function jsonOf({ events, eventsJson, ...header }: TelemetryPublication): string {
  return `${JSON.stringify(header).slice(0, -1)},"events":${eventsJson ?? JSON.stringify(events)}}`;
}
