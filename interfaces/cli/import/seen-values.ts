import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Metrics, Reading } from '../../../domain/telemetry.ts';

/** Where a reading stands: a file of this run, by its number, and a line of it. */
export type Place = { readonly file: number; readonly line: number };

/** What earlier lines of this run say of the same device, time and metrics. */
type Comparison =
  | { readonly is: 'new' | 'repeated' }
  /** An earlier line has another value. */
  | { readonly is: 'conflicting'; readonly metric: string; readonly earlier: Place };

type Entry = readonly [file: number, line: number, metrics: Metrics];

/**
 * Remembers every value of one run, so that two lines which contradict each other are found wherever they stand. It
 * is a temporary SQLite database, of which a bounded part is in memory, and which is gone with the process.
 */
export class SeenValues {
  readonly #db: DatabaseSync;
  readonly #devices = new Map<string, number>();
  readonly #insert: StatementSync;
  readonly #select: StatementSync;
  readonly #update: StatementSync;

  constructor() {
    // A database without a name is a file that SQLite makes where it may, and has deleted already.
    this.#db = new DatabaseSync('');
    this.#db.exec(`
      PRAGMA journal_mode = OFF;
      PRAGMA synchronous = OFF;
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA cache_size = -8192;
      CREATE TABLE seen (device INTEGER, time INTEGER, entries TEXT, PRIMARY KEY (device, time)) WITHOUT ROWID;
      BEGIN`);
    this.#insert = this.#db.prepare('INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT DO NOTHING');
    this.#select = this.#db.prepare('SELECT entries FROM seen WHERE device = ? AND time = ?');
    this.#update = this.#db.prepare('UPDATE seen SET entries = ? WHERE device = ? AND time = ?');
  }

  /** With `overwrite`, a conflicting reading takes the place of what was there; else it leaves no trace. */
  compare({ deviceId, timestamp, metrics }: Reading, { file, line }: Place, overwrite: boolean): Comparison {
    let device = this.#devices.get(deviceId);
    if (device === undefined) {
      device = this.#devices.size;
      this.#devices.set(deviceId, device);
    }
    const entry: Entry = [file, line, metrics];
    const { changes } = this.#insert.run(device, timestamp, JSON.stringify([entry]));
    if (changes > 0) return { is: 'new' };

    const entries = JSON.parse(String(this.#select.get(device, timestamp)?.entries)) as Entry[];
    const known = Object.assign({}, ...entries.map(([, , values]) => values)) as Metrics;
    const contradicted = Object.keys(metrics).find(
      (name) => (known[name] ?? metrics[name]) !== metrics[name],
    );
    const isRepeated = Object.keys(metrics).every((name) => known[name] === metrics[name]);
    if (isRepeated) return { is: 'repeated' };
    if (contradicted === undefined || overwrite)
      this.#update.run(JSON.stringify([...withoutMetrics(entries, metrics), entry]), device, timestamp);
    if (contradicted === undefined) return { is: 'new' };
    const [earlierFile, earlierLine] = entries.find(([, , values]) => contradicted in values) as Entry;
    return { is: 'conflicting', metric: contradicted, earlier: { file: earlierFile, line: earlierLine } };
  }

  close(): void {
    this.#db.close();
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
