import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Metrics, Reading } from '../../domain/telemetry.ts';
import { temporaryDiskFull } from './unusable-input.ts';

/** Where a reading stands: a file of this run, by its number, and a line of it. */
export type Place = { readonly file: number; readonly line: number };

/** What earlier lines of this run say of the same device, time and metrics. */
type Comparison =
  | { readonly is: 'new' | 'repeated' }
  /** An earlier line has another value. */
  | { readonly is: 'conflicting'; readonly metric: string; readonly earlier: Place };

type Entry = readonly [file: number, line: number, metrics: Metrics];

/** SQLITE_FULL. */
const full = 13;

/** What is known of the times of one device, in numbers that follow each other: there may be very many devices. */
const fields = 4;
const [earliest, latest, last, lastRow] = [0, 1, 2, 3] as const;

/**
 * Remembers every value of one run, so that two lines which contradict each other are found wherever they stand. It
 * is a temporary SQLite database, of which a bounded part is in memory, and which is gone with the process. As long
 * as the readings of each device come in order, forward or backward, rows are only added to it and none is looked up.
 */
export class SeenValues {
  readonly #db: DatabaseSync;
  readonly #devices = new Map<string, number>();
  #times = new Float64Array(fields * 1024);
  readonly #insert: StatementSync;
  readonly #entries: StatementSync;
  readonly #update: StatementSync;
  /** Prepared, with its index, for the first reading that comes out of order. */
  #find: StatementSync | undefined;

  constructor() {
    // A database without a name is a file that SQLite makes where it may, and has deleted already.
    this.#db = new DatabaseSync('');
    this.#db.exec(`
      PRAGMA journal_mode = OFF;
      PRAGMA synchronous = OFF;
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA cache_size = -2048;
      CREATE TABLE seen (id INTEGER PRIMARY KEY, device INTEGER, time INTEGER, entries TEXT);
      BEGIN`);
    this.#insert = this.#db.prepare('INSERT INTO seen (device, time, entries) VALUES (?, ?, ?)');
    this.#entries = this.#db.prepare('SELECT entries FROM seen WHERE id = ?');
    this.#update = this.#db.prepare('UPDATE seen SET entries = ? WHERE id = ?');
  }

  /** With `overwrite`, a conflicting reading takes the place of what was there; else it leaves no trace. */
  compare(reading: Reading, place: Place, overwrite: boolean): Comparison {
    try {
      return this.#compare(reading, place, overwrite);
    } catch (error) {
      throw (error as { errcode?: unknown }).errcode === full ? temporaryDiskFull(error) : error;
    }
  }

  #compare({ deviceId, timestamp, metrics }: Reading, { file, line }: Place, overwrite: boolean): Comparison {
    const device = this.#deviceOf(deviceId);
    const entry: Entry = [file, line, metrics];
    const row = this.#rowOf(device, timestamp);
    if (row === undefined) {
      this.#add(device, timestamp, entry);
      return { is: 'new' };
    }
    const entries = JSON.parse(String(this.#entries.get(row)?.entries)) as Entry[];
    const known = Object.assign({}, ...entries.map(([, , values]) => values)) as Metrics;
    const names = Object.keys(metrics);
    if (names.every((name) => known[name] === metrics[name])) return { is: 'repeated' };
    const contradicted = names.find((name) => (known[name] ?? metrics[name]) !== metrics[name]);
    if (contradicted === undefined || overwrite)
      this.#update.run(JSON.stringify([...withoutMetrics(entries, metrics), entry]), row);
    if (contradicted === undefined) return { is: 'new' };
    const [earlierFile, earlierLine] = entries.find(([, , values]) => contradicted in values) as Entry;
    return { is: 'conflicting', metric: contradicted, earlier: { file: earlierFile, line: earlierLine } };
  }

  #deviceOf(deviceId: string): number {
    const known = this.#devices.get(deviceId);
    if (known !== undefined) return known;
    const device = fields * this.#devices.size;
    this.#devices.set(deviceId, device);
    if (device === this.#times.length) {
      const grown = new Float64Array(2 * this.#times.length);
      grown.set(this.#times);
      this.#times = grown;
    }
    this.#times.set([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0], device);
    return device;
  }

  #rowOf(device: number, time: number): number | undefined {
    const times = this.#times;
    if (time > (times[device + latest] as number) || time < (times[device + earliest] as number))
      return undefined;
    if (time === times[device + last]) return times[device + lastRow];
    this.#find ??= this.#indexed();
    const found = this.#find.get(device, time);
    return found && Number(found.id);
  }

  #indexed(): StatementSync {
    this.#db.exec('CREATE INDEX seen_times ON seen (device, time)');
    return this.#db.prepare('SELECT id FROM seen WHERE device = ? AND time = ?');
  }

  #add(device: number, time: number, entry: Entry): void {
    const { lastInsertRowid } = this.#insert.run(device, time, JSON.stringify([entry]));
    const times = this.#times;
    times[device + earliest] = Math.min(times[device + earliest] as number, time);
    times[device + latest] = Math.max(times[device + latest] as number, time);
    times[device + last] = time;
    times[device + lastRow] = Number(lastInsertRowid);
  }

  /** May be called again. */
  close(): void {
    if (this.#db.isOpen) this.#db.close();
    this.#devices.clear();
    this.#times = new Float64Array(0);
  }
}

/** So that there are never more entries than metrics. */
function withoutMetrics(entries: readonly Entry[], metrics: Metrics): Entry[] {
  return entries
    .map(([file, line, values]): Entry => {
      const left = Object.entries(values).filter(([name]) => !(name in metrics));
      return [file, line, Object.fromEntries(left)];
    })
    .filter(([, , values]) => Object.keys(values).length > 0);
}
