import { setImmediate as turn } from 'node:timers/promises';
import type { Connection, QueryOptions } from 'mysql2';
import { shortened } from './mysql-query.ts';

const chunkSize = 1000;
const chunksHeld = 2;

/**
 * A result's rows as arrays of their columns, in chunks, while it arrives; the socket is not read while two chunks
 * wait. When the caller leaves early, `abandon` says what becomes of the rest: with `drain` it is read and dropped,
 * so that the connection can go on; any other function has to end the connection.
 */
export async function* rowChunks<Row extends readonly unknown[]>(
  connection: Connection,
  options: QueryOptions,
  abandon: 'drain' | (() => void),
): AsyncGenerator<Row[]> {
  const waiting: Row[][] = [];
  let filling: Row[] = [];
  let ended = false;
  let failure: Error | undefined;
  let dropping = false;
  let wake = () => {};

  const end = (error?: Error) => {
    failure ??= error;
    ended = true;
    wake();
  };
  // A broken connection is told to the connection only: the driver forgets statements that read by events.
  connection.on('error', end);
  const statement = connection.query({ ...options, rowsAsArray: true });
  statement.on('error', end);
  statement.on('end', () => end());
  statement.on('result', (row) => {
    if (dropping || filling.push(row as unknown as Row) < chunkSize) return;
    waiting.push(filling);
    filling = [];
    if (waiting.length >= chunksHeld) connection.pause();
    wake();
  });

  try {
    for (;;) {
      if (waiting.length === 0 && !ended) await new Promise<void>((resolve) => (wake = resolve));
      const chunk = waiting.shift();
      if (chunk) {
        if (!ended) connection.resume();
        yield chunk;
        // The next may have come with this one, and others have work to do in between.
        await turn();
      } else if (ended) {
        if (failure) throw shortened(failure);
        if (filling.length > 0) yield filling;
        return;
      }
    }
  } finally {
    if (!ended && abandon === 'drain') {
      dropping = true;
      connection.resume();
      while (!ended) await new Promise<void>((resolve) => (wake = resolve));
    } else if (!ended && abandon !== 'drain') abandon();
    connection.off('error', end);
  }
}
