import { parentPort, workerData } from 'node:worker_threads';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { SqlValue } from '../sql/sql.ts';
import type { End } from './answering-thread.ts';
import { readModelsFile } from './read-models-file.ts';
import { SqliteConnection } from './sqlite-connection.ts';
import { openSqliteFile } from './sqlite-file.ts';

export type WriterOrder =
  | { readonly do: 'all' | 'rows' | 'run'; readonly text: string; readonly params: readonly SqlValue[] }
  /** The values of all rows, one row after the other. It is not answered. */
  | {
      readonly do: 'write';
      readonly text: string;
      readonly width: number;
      readonly values: readonly SqlValue[];
    }
  | { readonly do: 'tryBegin' | 'commit' | 'rollback' };

export type Outcome =
  | { readonly done: unknown }
  | { readonly unavailable: string }
  | { readonly failed: unknown };

if (!parentPort) throw new Error('The thread that writes the read models is started by these, not by hand');
const port = parentPort;
const path = workerData as string;
const db = openSqliteFile(readModelsFile(path));
db.exec('PRAGMA busy_timeout = 0');
const connection = new SqliteConnection(db, path);

/** What became of rows that nobody has been told of yet. Nothing else is done before. */
let lost: Outcome | undefined;

port.on('message', (order: WriterOrder | End) => {
  if (order === 'end') {
    connection.close();
    port.close();
    return;
  }
  if (order.do === 'rollback') lost = undefined;
  const outcome = lost ?? outcomeOf(order);
  if (order.do !== 'write') {
    lost = undefined;
    port.postMessage([outcome]);
  } else if (!('done' in outcome)) lost = outcome;
});

function outcomeOf(order: WriterOrder): Outcome {
  try {
    return { done: resultOf(order) };
  } catch (error) {
    return error instanceof ReadModelsUnavailable ? { unavailable: error.message } : { failed: error };
  }
}

function resultOf(order: WriterOrder): unknown {
  switch (order.do) {
    case 'all':
      return connection.all(order.text, order.params);
    case 'rows':
      return connection.rows(order.text, order.params);
    case 'run':
      return connection.run(order.text, order.params);
    case 'write':
      return connection.runForEach(order.text, order.width, order.values);
    case 'tryBegin':
    case 'commit':
    case 'rollback':
      return connection[order.do]();
  }
}
