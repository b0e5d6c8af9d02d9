import { closeSync, openSync, readFileSync, readSync, realpathSync } from 'node:fs';
import { endianness } from 'node:os';

/** Where the index has how many frames are in the file for certain, and how many a checkpoint set out to move there. */
const backfilled = 96;
const attempted = 128;

/**
 * Whether a checkpoint of the database at `path`, which this process must have open, has begun and not ended: it runs, it
 * stands still, or it failed or was killed. Until another one ends, the file alone is neither what it was nor what it will be;
 * with its write-ahead log it is whole. `undefined` where that cannot be found out, as on systems without `/proc`.
 *
 * Of the index as SQLite has it in memory: to close its file here would give up the locks that this process has on it.
 * See "WAL-Index File Format" in https://www.sqlite.org/walformat.html.
 */
export function isCheckpointUnfinished(path: string): boolean | undefined {
  try {
    const index = `${realpathSync(path)}-shm`;
    const mapped = readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .map((line) => /^([0-9a-f]+)-\S+ \S+ 0+ \S+ \d+ +(.+)$/.exec(line))
      .find((found) => found?.[2] === index)?.[1];
    if (mapped === undefined) return undefined;
    const [done, begun] = [backfilled, attempted].map((offset) =>
      wordAt(BigInt(`0x${mapped}`) + BigInt(offset)),
    );
    return done !== begun;
  } catch {
    return undefined;
  }
}

function wordAt(address: bigint): number {
  const memory = openSync('/proc/self/mem', 'r');
  try {
    const word = Buffer.alloc(4);
    readSync(memory, word, 0, 4, address);
    return endianness() === 'LE' ? word.readUInt32LE() : word.readUInt32BE();
  } finally {
    closeSync(memory);
  }
}
