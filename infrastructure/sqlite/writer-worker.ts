import { workerData } from 'node:worker_threads';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import type { SqlValue } from '../sql/sql.ts';
import { serializeError, WorkerEndpoint } from '../worker-channel.ts';
import { type RowsToInsert, SqliteConnection } from './connection.ts';
import { openSqliteFile, readModelsFile } from './database-file.ts';
import { emptyLog, givesPagesBack } from './file-size.ts';

/** Sent without waiting for a reply: the next request that has one fails with the error of these. */
type Unanswered = { readonly do: 'begin' } | ({ readonly do: 'write' } & RowsToInsert);

type Answered =
  | { readonly do: 'all' | 'rows' | 'run'; readonly text: string; readonly params: readonly SqlValue[] }
  /** Rolls back when it cannot. */
  | { readonly do: 'commit' | 'rollback' }
  /** Between transactions: gives some free pages back and answers whether there are more. */
  | { readonly do: 'reclaim' };

export type WriterRequest = Unanswered | Answered;

/** `cache`: bytes of its pages in memory, as usual when it is `undefined`. */
export type WrittenFile = { readonly path: string; readonly cache: number | undefined };

type Outcome = { readonly result: unknown } | { readonly error: unknown };

const thread = new WorkerEndpoint<WriterRequest, unknown>();
const { path, cache } = workerData as WrittenFile;
const asUsual = readModelsFile(path);
const file = cache === undefined ? asUsual : { ...asUsual, cache: Math.ceil(cache / 1024) };
const db = openSqliteFile(file, { create: false });
db.exec('PRAGMA busy_timeout = 0');
const connection = new SqliteConnection(db, path);

/**
 * Milliseconds between two tries to begin a transaction while another thread or process has one, and for how long to
 * try. SQLite's own waiting would sleep through the moments in which the file is free.
 */
const beginRetry = { every: 2, within: 30_000 };
/** Given back in one step, which holds the file for some tens of milliseconds. */
const pagesInStep = 1000;
const sleeping = new Int32Array(new SharedArrayBuffer(4));

/** The error of an unanswered request. Until the transaction ends, every later request of it fails with the same. */
let failed: { readonly error: unknown } | undefined;

thread.onRequests((requests) => {
  for (const { id, request } of requests) {
    if (request.do === 'begin' || request.do === 'write') {
      const outcome = failed ?? outcomeOf(() => perform(request));
      if ('error' in outcome) failed = outcome;
      continue;
    }
    const outcome = answer(request);
    if (id !== undefined)
      thread.reply('error' in outcome ? { id, error: serializeError(outcome.error) } : { id, ...outcome });
    // Where SQLite has ended the transaction by itself, none of its later requests may have an effect.
    const isOver = request.do === 'commit' || request.do === 'rollback';
    failed = db.isTransaction || isOver || 'result' in outcome ? undefined : outcome;
  }
});
await thread.closed;
// Not left to the last connection that is closed, which may be one that only reads.
outcomeOf(() => emptyLog(db));
connection.close();
thread.end();

function perform(request: Unanswered): void {
  if (request.do === 'begin') begin();
  else connection.insertRows(request);
}

function begin(): void {
  for (const deadline = Date.now() + beginRetry.within; !connection.tryBegin(); ) {
    if (Date.now() > deadline) throw new ReadModelsUnavailable('Others keep writing to the read models');
    Atomics.wait(sleeping, 0, 0, beginRetry.every);
  }
}

function answer(request: Answered): Outcome {
  if (request.do === 'rollback') return outcomeOf(() => connection.rollback());
  const outcome = failed ?? outcomeOf(() => resultOf(request));
  if ('result' in outcome || request.do !== 'commit') return outcome;
  const rolledBack = outcomeOf(() => connection.rollback());
  return 'result' in rolledBack ? outcome : rolledBack;
}

function resultOf(request: Answered): unknown {
  switch (request.do) {
    case 'all':
      return connection.all(request.text, request.params);
    case 'rows':
      return connection.rows(request.text, request.params);
    case 'run':
      return connection.run(request.text, request.params);
    case 'commit':
    case 'rollback':
      return connection[request.do]();
    case 'reclaim':
      return reclaim();
  }
}

function reclaim(): boolean {
  if (!givesPagesBack(db, path)) return false;
  begin();
  try {
    connection.run(`PRAGMA incremental_vacuum(${pagesInStep})`);
    connection.commit();
  } catch (error) {
    connection.rollback();
    throw error;
  }
  const [free] = connection.rows<[number]>('PRAGMA freelist_count');
  if (free?.[0]) return true;
  emptyLog(db);
  return false;
}

function outcomeOf(work: () => unknown): Outcome {
  try {
    return { result: work() };
  } catch (error) {
    return { error };
  }
}
