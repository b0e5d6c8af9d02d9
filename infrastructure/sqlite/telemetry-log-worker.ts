import { workerData } from 'node:worker_threads';
import { type ReceivedRequest, type Reply, serializeError, WorkerEndpoint } from '../worker-channel.ts';
import { immediateTransaction, lastBatch, openSqliteFile, telemetryFile } from './database-file.ts';
import { telemetryLogError } from './errors.ts';
import { closeComplete } from './file-size.ts';
import { stateOfTelemetry } from './file-state.ts';
import { CommitSignal } from './log-source.ts';
import { type FileSeen, OpenFile } from './open-file.ts';

/** The file that the thread is to write to, and no other that its path has come to name. */
export type LogFile = { readonly path: string; readonly seen: FileSeen };

/** A publication as the row it becomes. */
export type TelemetryRow = { readonly count: number; readonly body: string };

/** Rows that are stored together or not at all. */
export type AppendRows = readonly TelemetryRow[];

/** The position of each row's last event. */
export type AppendedPositions = readonly number[];

const thread = new WorkerEndpoint<AppendRows, AppendedPositions>();
const { path, seen } = workerData as LogFile;
const db = openSqliteFile(telemetryFile(path), { create: false });
const file = new OpenFile(path, { state: stateOfTelemetry, onlyGrows: true, writes: true, seen });
const signal = new CommitSignal(path);
const inTransaction = immediateTransaction(db);
const insert = db.prepare('INSERT INTO batches (first_offset, count, body) VALUES (?, ?, ?)');
const last = db.prepare(lastBatch);
last.setReturnArrays(true);

thread.onRequests((requests) => {
  const replies = repliesTo(requests);
  if (replies.some((reply) => 'result' in reply)) signal.announce();
  thread.reply(...replies);
});
await thread.closed;
signal.close();
closeComplete(db, () => file.assertInPlace());
thread.end();

/** Whatever arrived during the last transaction shares the next one: it is stored together or not at all. */
function repliesTo(requests: readonly ReceivedRequest<AppendRows>[]): readonly Reply<AppendedPositions>[] {
  try {
    file.assertInPlace();
    const replies = inTransaction(() => append(requests));
    // What was committed to a file that is gone is not stored.
    file.assertInPlace();
    return replies;
  } catch (thrown) {
    const error = serializeError(telemetryLogError(thrown, path));
    return requests.map(({ id = 0 }) => ({ id, error }));
  }
}

function append(requests: readonly ReceivedRequest<AppendRows>[]): readonly Reply<AppendedPositions>[] {
  const [first, length] = (last.get() ?? [1, 0]) as unknown as [number, number];
  let next = first + length;
  return requests.map(({ id = 0, request }) => ({
    id,
    result: request.map(({ count, body }) => {
      insert.run(next, count, body);
      next += count;
      return next - 1;
    }),
  }));
}
