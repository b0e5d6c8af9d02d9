import type { Socket } from 'node:net';
import { createPool, type Pool, type PoolConnection } from 'mysql2';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import { query } from './statements.ts';

/** Connections in use, those that could be taken now, and callers in line for one. */
export type PoolStatistics = { readonly used: number; readonly free: number; readonly waiting: number };

/** Timeout for getting a pooled connection and for opening one, in milliseconds. */
const patience = 10_000;

/**
 * How the statements of this project want to be understood, whatever the server's defaults: the same text means the
 * same as in SQLite, bad values are errors, and a statement sees all that was committed before it began. The last
 * matters after `SELECT … FOR UPDATE`: under REPEATABLE READ, reads after the lock could still see the moment of an
 * earlier read of the transaction, older than what the lock protects. The timeouts bound how long a lock is waited
 * for, and how long the locks of a vanished client are held.
 */
const session = [
  'SET NAMES utf8mb4 COLLATE utf8mb4_bin',
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  `SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ANSI_QUOTES,PIPES_AS_CONCAT', autocommit = 1,
   time_zone = '+00:00', innodb_lock_wait_timeout = 10, lock_wait_timeout = 10, wait_timeout = 120`,
];

/** Connections to one server, each ready to be used. */
export class MysqlPool {
  readonly #pool: Pool;
  readonly #limit: number;
  readonly #server: string;
  readonly #open = new Set<PoolConnection>();
  readonly #ready = new WeakSet<PoolConnection>();
  #used = 0;
  #waiting = 0;

  constructor(url: string, limit: number, tls?: { readonly ca?: string }) {
    this.#limit = limit;
    this.#server = new URL(url).host;
    this.#pool = createPool({
      uri: url,
      ...(tls && { ssl: { ...tls, rejectUnauthorized: true, verifyIdentity: true } }),
      connectionLimit: limit,
      maxIdle: Math.max(1, limit - 1),
      idleTimeout: 60_000,
      gracefulEnd: true,
      connectTimeout: patience,
      keepAliveInitialDelay: 10_000,
      charset: 'UTF8MB4_BIN',
      timezone: 'Z',
      maxPreparedStatements: 32,
      // What SQLite gives for the same column: numbers where they are exact, text for documents and times.
      supportBigNumbers: true,
      decimalNumbers: true,
      jsonStrings: true,
      dateStrings: true,
    });
    this.#pool.on('connection', (connection) => {
      this.#open.add(connection);
      connection.once('end', () => this.#open.delete(connection));
      // Goes to the running statement, if any; the pool listens only for the first, and a second would end the process.
      connection.on('error', () => this.#open.delete(connection));
    });
  }

  get statistics(): PoolStatistics {
    return { used: this.#used, free: this.#limit - this.#used, waiting: this.#waiting };
  }

  /** To be given back by `release` or `discard`. Throws `ReadModelsUnavailable`. */
  async acquire(within = patience): Promise<PoolConnection> {
    this.#waiting += 1;
    try {
      const connection = await this.#connection(within);
      if (!this.#ready.has(connection)) await this.#prepare(connection);
      this.#used += 1;
      return connection;
    } catch (error) {
      throw this.unavailable(error);
    } finally {
      this.#waiting -= 1;
    }
  }

  release(connection: PoolConnection): void {
    this.#used -= 1;
    connection.release();
  }

  /** Closes an unusable connection at once, whatever its server is still sending. */
  discard(connection: PoolConnection): void {
    this.#used -= 1;
    this.#destroy(connection);
  }

  unavailable(cause: unknown): ReadModelsUnavailable {
    if (cause instanceof ReadModelsUnavailable) return cause;
    const reason =
      cause instanceof Error ? cause.message || (cause as { code?: string }).code : String(cause);
    return new ReadModelsUnavailable(`MySQL at ${this.#server}: ${reason}`, { cause });
  }

  /** Lets running statements end, for as long as `patience` allows. */
  async close(): Promise<void> {
    const deadline = setTimeout(() => {
      for (const connection of this.#open) this.#destroy(connection);
    }, patience);
    await new Promise<void>((resolve) => this.#pool.end(() => resolve()));
    clearTimeout(deadline);
  }

  #connection(within: number): Promise<PoolConnection> {
    return new Promise((resolve, reject) => {
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        reject(new Error(`none of ${this.#limit} connections became free within ${within} ms`));
      }, within);
      this.#pool.getConnection((error, connection) => {
        clearTimeout(timer);
        if (late) connection?.release();
        else if (error) reject(error);
        else resolve(connection);
      });
    });
  }

  async #prepare(connection: PoolConnection): Promise<void> {
    try {
      for (const sql of session) await query(connection, { sql, timeout: patience });
      this.#ready.add(connection);
    } catch (error) {
      this.#destroy(connection);
      throw error;
    }
  }

  #destroy(connection: PoolConnection): void {
    this.#open.delete(connection);
    // With an error, so that the driver rejects running statements; its own destroy() only ends the writing side.
    (connection as unknown as { stream: Socket }).stream.destroy(new Error('connection discarded'));
    connection.destroy();
  }
}
