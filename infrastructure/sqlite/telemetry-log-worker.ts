import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import { immediateTransaction, lastBatch, openSqliteFile, telemetryFile } from './database-file.ts';
import { telemetryLogError } from './errors.ts';
import { CommitSignal } from './log-source.ts';
import { type End, type SerializedError, serializeError } from './worker-channel.ts';

/** A publication as the row it becomes. */
export type Batch = { readonly count: number; readonly body: string };

/** What is sent together; it is answered with one outcome. */
export type Group = readonly Batch[];

/** What becomes of one group: the position of each batch's last event, or why none is stored. */
export type Outcome = { readonly positions: readonly number[] } | SerializedError;

if (!parentPort) throw new Error('The thread of the telemetry log is started by the log, not by hand');
const port = parentPort;
const path = workerData as string;
const db = openSqliteFile(telemetryFile(path));
const signal = new CommitSignal(path);
const inTransaction = immediateTransaction(db);
const insert = db.prepare('INSERT INTO batches (first_offset, count, body) VALUES (?, ?, ?)');
const last = db.prepare(lastBatch);
last.setReturnArrays(true);

port.on('message', (order: Group | End) => {
  const groups: Group[] = [];
  for (let next: Group | End | undefined = order; next !== undefined; next = received()) {
    if (next === 'end') {
      commit(groups);
      signal.close();
      db.close();
      port.close();
      return;
    }
    groups.push(next);
  }
  commit(groups);
});

/** What else has come while the last transaction went on. */
const received = (): Group | End | undefined => receiveMessageOnPort(port)?.message;

function commit(groups: readonly Group[]): void {
  if (groups.length === 0) return;
  const outcomes = outcomesOf(groups);
  if (outcomes.some((outcome) => 'positions' in outcome)) signal.announce();
  port.postMessage(outcomes);
}

/** All groups in one transaction: they are stored together or not at all. */
function outcomesOf(groups: readonly Group[]): readonly Outcome[] {
  try {
    return inTransaction(() => append(groups));
  } catch (error) {
    const fault = serializeError(telemetryLogError(error, path), TelemetryLogUnavailable);
    return groups.map(() => fault);
  }
}

function append(groups: readonly Group[]): readonly Outcome[] {
  const [first, length] = (last.get() ?? [1, 0]) as unknown as [number, number];
  let next = first + length;
  return groups.map((group) => ({
    positions: group.map(({ count, body }) => {
      insert.run(next, count, body);
      next += count;
      return next - 1;
    }),
  }));
}
