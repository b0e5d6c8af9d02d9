import { rmSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { serveCalls } from '../harness/peer.ts';
import { correlationId, deviceId, metricsOf, readingTime } from '../harness/workload.ts';

export type InsertRun = { readonly folder: string; readonly readings: number; readonly devices: number };

export type BareInsert = typeof calls;
const calls = { insert };
serveCalls(calls);

const rowsAtOnce = 40;
const rowsInTransaction = 10_000;

/**
 * Inserts the same readings, sorted in each transaction, into an equal table, with nothing around it: rows a second.
 * The rows are made, their documents included, before the clock starts.
 */
function insert({ folder, readings, devices }: InsertRun): number {
  const file = path.join(folder, 'bare.db');
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
  const db = new DatabaseSync(file);
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 20000;
    PRAGMA cache_size = -65536;
    CREATE TABLE telemetry (device_id VARCHAR(128) NOT NULL, ts BIGINT NOT NULL, metrics MEDIUMTEXT NOT NULL,
      received_at BIGINT NOT NULL, correlation_id VARCHAR(160) NOT NULL, position VARCHAR(64) NOT NULL,
      corrected_by VARCHAR(160), PRIMARY KEY (device_id, ts)) WITHOUT ROWID`);
  const one = '(?, ?, ?, ?, ?, ?, ?)';
  const statement = db.prepare(`INSERT INTO telemetry VALUES ${Array(rowsAtOnce).fill(one).join(', ')}`);
  const transactions = rowsOf(readings, devices);

  const began = performance.now();
  for (const rows of transactions) {
    db.exec('BEGIN IMMEDIATE');
    for (const values of rows) statement.run(...values);
    db.exec('COMMIT');
  }
  const seconds = (performance.now() - began) / 1000;
  db.close();
  return readings / seconds;
}

type Values = (string | number | null)[];

/** By transaction, the values of each statement. */
function rowsOf(readings: number, devices: number): Values[][] {
  return Array.from({ length: readings / rowsInTransaction }, (_, transaction) => {
    const from = transaction * rowsInTransaction;
    const rows = Array.from({ length: rowsInTransaction }, (_, i): Values => {
      const device = (from + i) % devices;
      const document = JSON.stringify(metricsOf(device));
      const time = readingTime(from + i, devices);
      return [deviceId(device), time, document, time, correlationId, String(from + i), null];
    });
    rows.sort((a, b) => (a[0] === b[0] ? Number(a[1]) - Number(b[1]) : String(a[0]) < String(b[0]) ? -1 : 1));
    return Array.from({ length: rowsInTransaction / rowsAtOnce }, (_, i) =>
      rows.slice(i * rowsAtOnce, (i + 1) * rowsAtOnce).flat(),
    );
  });
}
