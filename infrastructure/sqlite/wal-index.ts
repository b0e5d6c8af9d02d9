import { closeSync, openSync, readFileSync, readSync, realpathSync } from 'node:fs';
import { endianness } from 'node:os';

/** How far checkpoints have come with a write-ahead log, in frames. */
export type WalIndex = {
  /** Changes whenever the log begins anew, which it does once all of it is in the file. */
  readonly salt: number;
  readonly frames: number;
  /** In the file for certain. */
  readonly moved: number;
  /** How many the last checkpoint set out to have in the file: those that no reader has to find there in an older state. */
  readonly attempted: number;
};

/** Where the index has them. */
const offsets = { salt: 32, frames: 16, moved: 96, attempted: 128 } as const;

/**
 * The index of the database at `path`, which this process must have open. `undefined` where it cannot be read, as on systems
 * without `/proc`.
 *
 * Of the index as SQLite has it in memory: to close its file here would give up the locks that this process has on it.
 * See "WAL-Index File Format" in https://www.sqlite.org/walformat.html.
 */
export function walIndexOf(path: string): WalIndex | undefined {
  try {
    const index = `${realpathSync(path)}-shm`;
    const mapped = readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .map((line) => /^([0-9a-f]+)-\S+ \S+ 0+ \S+ \d+ +(.+)$/.exec(line))
      .find((found) => found?.[2] === index)?.[1];
    return mapped === undefined ? undefined : indexAt(BigInt(`0x${mapped}`));
  } catch {
    return undefined;
  }
}

function indexAt(address: bigint): WalIndex {
  const memory = openSync('/proc/self/mem', 'r');
  try {
    const bytes = Buffer.alloc(136);
    readSync(memory, bytes, 0, bytes.length, address);
    const word = (offset: number) =>
      endianness() === 'LE' ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset);
    return {
      salt: word(offsets.salt),
      frames: word(offsets.frames),
      moved: word(offsets.moved),
      attempted: word(offsets.attempted),
    };
  } finally {
    closeSync(memory);
  }
}

/**
 * Whether a checkpoint has begun and not ended: it runs, it stands still, or it failed or was killed. Until another one ends,
 * the file alone is neither what it was nor what it will be; with its write-ahead log it is whole.
 */
export const isCheckpointUnfinished = ({ moved, attempted }: WalIndex): boolean => moved !== attempted;

/**
 * Whether a checkpoint has changed the file since `before` and left frames to a later one, since others read an older state.
 * Pages that those frames change again are not moved either: the file alone is no state that ever was.
 */
export function wasMovedInPart({ salt, frames, moved }: WalIndex, before: WalIndex | undefined): boolean {
  const movedBefore = salt === before?.salt ? before.moved : 0;
  return moved > movedBefore && moved < frames;
}
