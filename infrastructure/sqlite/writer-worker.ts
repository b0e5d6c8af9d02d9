import { parentPort, workerData } from 'node:worker_threads';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { SqlValue } from '../sql/sql.ts';
import { SqliteConnection } from './connection.ts';
import { openSqliteFile, readModelsFile } from './database-file.ts';
import { type End, type SerializedError, serializeError } from './worker-channel.ts';

/** All but these have an answer: of what is wrong with them the next order that has one is told. */
type Told =
  | { readonly do: 'begin' }
  /** The values of all rows, one row after the other. */
  | {
      readonly do: 'write';
      readonly into: string;
      readonly width: number;
      readonly values: readonly SqlValue[];
    };

type Asked =
  | { readonly do: 'all' | 'rows' | 'run'; readonly text: string; readonly params: readonly SqlValue[] }
  /** Rolls back when it cannot. */
  | { readonly do: 'commit' | 'rollback' };

export type WriterOrder = Told | Asked;

export type Outcome = { readonly done: unknown } | SerializedError;

if (!parentPort) throw new Error('The thread that writes the read models is started by these, not by hand');
const port = parentPort;
const path = workerData as string;
const db = openSqliteFile(readModelsFile(path));
db.exec('PRAGMA busy_timeout = 0');
const connection = new SqliteConnection(db, path);

/**
 * Milliseconds between two tries to begin a transaction while another thread or process has one, and for how long to
 * try. SQLite's own waiting would sleep through the moments in which the file is free.
 */
const beginRetry = { every: 2, within: 30_000 };
const sleeping = new Int32Array(new SharedArrayBuffer(4));

/** What nobody has been told of yet. Nothing but the end of the transaction is done before. */
let fault: SerializedError | undefined;

port.on('message', (order: WriterOrder | End) => {
  if (order === 'end') {
    connection.close();
    port.close();
  } else if (order.do === 'begin' || order.do === 'write') {
    const outcome = fault ?? outcomeOf(() => obey(order));
    if (!('done' in outcome)) fault = outcome;
  } else {
    const outcome = answerTo(order);
    port.postMessage([outcome]);
    // Where there is none, or SQLite has given it up, nothing else that was meant for the transaction may be done.
    fault = db.isTransaction || isEnd(order) || 'done' in outcome ? undefined : outcome;
  }
});

function obey(order: Told): void {
  if (order.do === 'begin') begin();
  else connection.insertRows(order.into, order.width, order.values);
}

function begin(): void {
  for (const deadline = Date.now() + beginRetry.within; !connection.tryBegin(); ) {
    if (Date.now() > deadline) throw new ReadModelsUnavailable('Others keep writing to the read models');
    Atomics.wait(sleeping, 0, 0, beginRetry.every);
  }
}

function answerTo(order: Asked): Outcome {
  if (order.do === 'rollback') return outcomeOf(() => connection.rollback());
  const outcome = fault ?? outcomeOf(() => resultOf(order));
  if ('done' in outcome || order.do !== 'commit') return outcome;
  const undone = outcomeOf(() => connection.rollback());
  return 'done' in undone ? outcome : undone;
}

function resultOf(order: Asked): unknown {
  switch (order.do) {
    case 'all':
      return connection.all(order.text, order.params);
    case 'rows':
      return connection.rows(order.text, order.params);
    case 'run':
      return connection.run(order.text, order.params);
    case 'commit':
    case 'rollback':
      return connection[order.do]();
  }
}

const isEnd = (order: Asked): boolean => order.do === 'commit' || order.do === 'rollback';

function outcomeOf(work: () => unknown): Outcome {
  try {
    return { done: work() };
  } catch (error) {
    return serializeError(error, ReadModelsUnavailable);
  }
}
