import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import type { SqlQueries } from '../../infrastructure/sql/sql.ts';
import { dataFiles } from '../../infrastructure/sqlite/database-file.ts';
import { openMysql } from '../infrastructure/mysql/open-mysql.ts';
import { lookInto, type ReadModelStore } from './each-engine.ts';
import { eventually } from './eventually.ts';
import type { FieldlogProcess } from './fieldlog-process.ts';

type Projected = {
  readonly stores: ReadModelStore;
  readonly folder: string;
  /** A query whose answer each transaction of the projector changes. */
  readonly written: string;
};

/** What of a database whose server is stopped shows that the server is in a transaction. */
type Transactions = { changed(): Promise<boolean>; isOpen(): Promise<boolean>; close(): Promise<void> };

/**
 * Stops a server at a random moment between the first write of a projector's transaction and its commit, for SIGKILL to
 * end it there. `load` is run before each attempt.
 */
export async function stopInTransaction(
  { child }: FieldlogProcess,
  projected: Projected,
  load: () => Promise<unknown> = async () => {},
): Promise<void> {
  const { MYSQL_URL } = projected.stores.env;
  const transactions =
    MYSQL_URL === undefined
      ? await sqliteTransactions(projected)
      : await mysqlTransactions(projected, MYSQL_URL);
  try {
    await eventually(
      async () => {
        await load();
        // A server takes readings before its projectors run.
        assert.ok(await transactions.changed(), 'nothing is projected');
        await pause(30 * Math.random());
        child.kill('SIGSTOP');
        // A COMMIT that was sent before the stop ends the transaction all the same.
        const isOpen = (await transactions.isOpen()) && (await pause(50).then(() => transactions.isOpen()));
        if (!isOpen) child.kill('SIGCONT');
        assert.ok(isOpen, 'the server was never stopped in a transaction');
      },
      { within: 30_000, every: 20 },
    );
  } finally {
    await transactions.close();
  }
}

/** What is written and not committed is there for those who read uncommitted rows alone. */
async function mysqlTransactions({ stores, folder, written }: Projected, url: string): Promise<Transactions> {
  const committed = await lookInto(stores, folder);
  const uncommitted = await openMysql(url, { connections: 1 });
  await uncommitted.db.run('SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED');
  const first = await answerOf(committed, written);
  return {
    changed: async () => (await answerOf(uncommitted.db, written)) !== first,
    isOpen: async () => (await answerOf(uncommitted.db, written)) !== (await answerOf(committed, written)),
    async close() {
      await uncommitted.close();
      await committed.close();
    },
  };
}

/** Projectors take turns in its one file, where the one that writes has a lock. */
async function sqliteTransactions({ stores, folder, written }: Projected): Promise<Transactions> {
  const committed = await lookInto(stores, folder);
  const writer = new DatabaseSync(dataFiles(folder).readModels, { timeout: 0 });
  const first = await answerOf(committed, written);
  return {
    changed: async () => (await answerOf(committed, written)) !== first,
    async isOpen() {
      try {
        writer.exec('BEGIN IMMEDIATE');
      } catch (error) {
        assert.match(String(error), /database is locked/);
        return true;
      }
      writer.exec('ROLLBACK');
      return false;
    },
    async close() {
      writer.close();
      await committed.close();
    },
  };
}

const answerOf = async (db: SqlQueries, query: string): Promise<string> =>
  JSON.stringify(await db.rows(query));
