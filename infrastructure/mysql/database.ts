import { setTimeout as delay } from 'node:timers/promises';
import type { PoolConnection } from 'mysql2';
import type { Log } from '../../application/ports/system.ts';
import type { Sql, SqlDatabase, SqlReader, SqlValue } from '../sql/sql.ts';
import { faultOf, type TransactionFault } from './error-codes.ts';
import { MysqlPool, type PoolStatistics } from './pool.ts';
import { MysqlSession, type Server } from './session.ts';
import { query, rowChunks } from './statements.ts';

export type MysqlOptions = {
  /** `mysql://user:password@host:port/database`; the driver's own options may follow as a query string. */
  readonly url: string;
  /** Connections are by TLS, to a server whose certificate is of its name and stems from `ca` (PEM) or Node's own. */
  readonly tls?: { readonly ca?: string };
  /** Connections at most. */
  readonly connections?: number;
  /** Milliseconds after which a statement without an answer counts as lost with its connection. */
  readonly statementTimeout?: number;
};

const attempts = 6;

/** MariaDB or MySQL. For reads on a replica, a second one with the replica's URL. */
export class MysqlSql implements SqlDatabase {
  readonly dialect = 'mysql';
  readonly #pool: MysqlPool;
  readonly #log: Log;
  readonly #server: Server = { localInfile: true };
  readonly #statementTimeout: number;

  constructor({ url, tls, connections = 10, statementTimeout = 300_000 }: MysqlOptions, log: Log) {
    this.#pool = new MysqlPool(url, connections, tls);
    this.#statementTimeout = statementTimeout;
    this.#log = log;
  }

  get connections(): PoolStatistics {
    return this.#pool.statistics;
  }

  /** Whether the server answers, within about two seconds. Throws `ReadModelsUnavailable`. */
  async check(): Promise<void> {
    const within = 2_000;
    const connection = await this.#pool.acquire(within);
    const session = new MysqlSession(connection, this.#server, within);
    await this.#using(connection, session, () => session.all('SELECT 1')).catch((error) => {
      throw this.#pool.unavailable(error);
    });
  }

  all<Row>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    return this.#persistently((session) => session.all<Row>(text, params), ['rolled-back', 'lost']);
  }

  rows<Row extends readonly unknown[]>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    return this.#persistently((session) => session.rows<Row>(text, params), ['rolled-back', 'lost']);
  }

  /** Like `write`, not retried when its connection is lost: it may have taken effect. */
  run(text: string, params?: readonly SqlValue[]): Promise<number> {
    return this.#persistently((session) => session.run(text, params), ['rolled-back']);
  }

  async *stream<Row extends readonly unknown[]>(
    text: string,
    params: readonly SqlValue[] = [],
  ): AsyncGenerator<Row[]> {
    const connection = await this.#pool.acquire();
    let whole = false;
    try {
      yield* rowChunks<Row>(connection, { sql: text, values: [...params] }, () => {});
      whole = true;
    } catch (error) {
      throw faultOf(error) === 'none' ? error : this.#pool.unavailable(error);
    } finally {
      if (whole) this.#pool.release(connection);
      else this.#pool.discard(connection);
    }
  }

  write(...write: Parameters<Sql['write']>): Promise<void> {
    return this.#transaction((tx) => tx.write(...write), ['rolled-back']);
  }

  /**
   * A connection lost during COMMIT leaves open whether the transaction was committed, and `work` runs
   * again all the same. So it must find out from what it reads: a projector reads the checkpoint it has locked and
   * drops what lies at or below it, which makes the second run do nothing when the first was committed.
   */
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    return this.#transaction(work, ['rolled-back', 'lost']);
  }

  snapshot<T>(work: (sql: SqlReader) => Promise<T>): Promise<T> {
    return this.#persistently(
      async (session) => {
        await session.run('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
        await session.run('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
        const answer = await work(session);
        // Throws the session's failure if it has one that `work` made nothing of.
        await session.run('COMMIT');
        return answer;
      },
      ['rolled-back', 'lost'],
    );
  }

  /** InnoDB has a file for each table, which goes with it. */
  async reclaim(): Promise<void> {}

  close(): Promise<void> {
    return this.#pool.close();
  }

  #transaction<T>(work: (tx: Sql) => Promise<T>, again: readonly TransactionFault[]): Promise<T> {
    return this.#persistently(async (session) => {
      await session.run('START TRANSACTION');
      const answer = await work(session);
      // Throws the session's failure if it has one that `work` made nothing of.
      await session.run('COMMIT');
      return answer;
    }, again);
  }

  async #persistently<T>(
    work: (session: MysqlSession) => Promise<T>,
    again: readonly TransactionFault[],
  ): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const connection = await this.#pool.acquire();
      const session = new MysqlSession(connection, this.#server, this.#statementTimeout);
      try {
        return await this.#using(connection, session, () => work(session));
      } catch (thrown) {
        // `work` may have wrapped the error it met.
        const error = session.failure ?? thrown;
        const fault = faultOf(error);
        if (fault === 'none') throw thrown;
        if (!again.includes(fault) || attempt === attempts) throw this.#pool.unavailable(error);
        this.#log.warn({ attempt, error: String(error) }, 'Work on the read models is run again');
      }
      // Full jitter: those that met in a deadlock must not meet again.
      await delay(Math.random() * 20 * 2 ** attempt);
    }
  }

  async #using<T>(connection: PoolConnection, session: MysqlSession, work: () => Promise<T>): Promise<T> {
    try {
      const answer = await work();
      this.#pool.release(connection);
      return answer;
    } catch (error) {
      await this.#giveBack(connection, session);
      throw error;
    }
  }

  /** A connection is reused only where its state is surely clean. */
  async #giveBack(connection: PoolConnection, session: MysqlSession): Promise<void> {
    let kept = session.failure === undefined;
    if (faultOf(session.failure) !== 'lost')
      await query(connection, { sql: 'ROLLBACK', timeout: this.#statementTimeout }).catch((error) => {
        kept = false;
        this.#log.debug({ error: String(error) }, 'A database connection was lost before its rollback');
      });
    if (kept) this.#pool.release(connection);
    else this.#pool.discard(connection);
  }
}
