import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { OperatorNeeded } from '../../application/ports/event-source.ts';
import { type FileState, type Marks, onFileAlone } from './file-state.ts';
import { isCheckpointUnfinished, type WalIndex, walIndexOf, wasMovedInPart } from './wal-index.ts';

/** What is written to it is lost with the last process that has it open. */
export class FileReplaced extends OperatorNeeded {
  override readonly name = 'FileReplaced';
}

export const notThere = (path: string, how: 'deleted' | 'replaced by another'): FileReplaced =>
  new FileReplaced(
    `${basename(path)} was ${how} while it was in use: stop Fieldlog, put the file back and start it again`,
  );

/** What a path names: device and inode, bytes, and when it was last changed. */
type FileFound = {
  readonly node: string | undefined;
  readonly bytes: bigint;
  readonly changedAt: bigint | undefined;
};

/** A file when it was first opened. A thread that opens it later is given this. */
export type FileSeen = FileFound & { readonly marks: Marks | undefined };

type OpenFileOptions = {
  /** What a checkpoint never takes back. */
  readonly state: FileState;
  /** Nothing of Fieldlog makes it smaller: where it has become so, another was copied over it. */
  readonly onlyGrows?: boolean;
  /**
   * Whether it is written to by this thread, which is then not to commit while in doubt. One that only reads may meet a
   * checkpoint of another thread, and looks again.
   */
  readonly writes?: boolean;
  /** From when it was first opened; now, unless given. */
  readonly seen?: FileSeen;
};

/** Milliseconds after which a file that is not what it should be, and is not changed any more, is given up. */
const unchangedFor = 2000;

/** A file that was just opened. A look takes microseconds unless it was changed, so every commit can afford two. */
export class OpenFile {
  readonly #path: string;
  readonly #options: OpenFileOptions;
  readonly #opened: string | undefined;
  #bytes: bigint;
  /** When it was changed before it was last found to be what it should be. */
  #changedAt: bigint | undefined;
  #marks: Marks | undefined;
  /** How far checkpoints had come with it then. */
  #index: WalIndex | undefined;
  /** The change after which the file was not what it should be, and when that was seen. */
  #doubt: { readonly changedAt: bigint | undefined; readonly since: number } | undefined;
  #overwritten = false;

  constructor(path: string, options: OpenFileOptions) {
    const { node, bytes, changedAt, marks } = options.seen ?? seenAt(path, options.state);
    this.#path = path;
    this.#options = options;
    this.#opened = node;
    this.#bytes = bytes;
    this.#changedAt = changedAt;
    this.#marks = marks;
  }

  /**
   * Throws `FileReplaced` when its path has come to name another file, or none, or when another was copied over it,
   * whose pages and those of the write-ahead log do not belong together.
   */
  assertInPlace(): void {
    const found = foundAt(this.#path);
    if (found.node === undefined) throw notThere(this.#path, 'deleted');
    if (found.node !== this.#opened) throw notThere(this.#path, 'replaced by another');
    if (this.#isWhole(found)) return;
    const name = basename(this.#path);
    throw new FileReplaced(
      `${name} was overwritten while it was in use: stop Fieldlog, remove ${name} with ${name}-wal and ${name}-shm, ` +
        'put the right one in its place and start Fieldlog again',
    );
  }

  #isWhole({ bytes, changedAt }: FileFound, looksLeft = 3): boolean {
    // For good: a checkpoint makes it longer again, but not whole.
    if (this.#options.onlyGrows) this.#overwritten ||= bytes < this.#bytes;
    this.#bytes = bytes;
    if (this.#overwritten || changedAt === this.#changedAt) return !this.#overwritten;
    const index = walIndexOf(this.#path);
    if (this.#reaches()) {
      this.#accept(changedAt, index);
      return true;
    }
    // It may have met a checkpoint that has ended since.
    const found = foundAt(this.#path);
    if (found.changedAt !== changedAt && looksLeft > 0) return this.#isWhole(found, looksLeft - 1);
    // Where checkpoints cannot be seen, they cannot be distinguished from what others do to the file.
    if (!index || wasMovedInPart(index, this.#index)) {
      this.#accept(changedAt, index);
      return true;
    }
    const now = performance.now();
    const since = this.#doubt && this.#doubt.changedAt === changedAt ? this.#doubt.since : now;
    this.#doubt = { changedAt, since };
    const isLasting = now - since > unchangedFor;
    if (isCheckpointUnfinished(index)) {
      // Where it stands still there is nothing to see until it changes the file again.
      if (isLasting) this.#accept(changedAt, index);
      return true;
    }
    // Times of changes are some milliseconds apart at least: a second one may have the time of the first.
    if (looksLeft > 0) return this.#isWhole(found, looksLeft - 1);
    this.#overwritten = isLasting;
    return !this.#overwritten && !this.#options.writes;
  }

  /** `index` may be newer than the change: then there is a later one, which is looked at the next time. */
  #accept(changedAt: bigint | undefined, index: WalIndex | undefined): void {
    if (foundAt(this.#path).changedAt !== changedAt) return;
    this.#changedAt = changedAt;
    this.#index = index;
    this.#doubt = undefined;
  }

  /** Compares the file with what is known of it, and remembers how far it has come. */
  #reaches(): boolean {
    const { state } = this.#options;
    const known = this.#marks;
    if (known && !attempt(() => onFileAlone(this.#path, (file) => state.reaches(file, known)))) return false;
    this.#marks = marksOf(this.#path, state) ?? known;
    return true;
  }
}

/** Without a file, `node` is `undefined`. */
function foundAt(path: string): FileFound {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return {
    node: found && `${found.dev}:${found.ino}`,
    bytes: found?.size ?? 0n,
    changedAt: found?.ctimeNs,
  };
}

export const seenAt = (path: string, state: FileState): FileSeen => ({
  ...foundAt(path),
  marks: marksOf(path, state),
});

/** None where all of the database is still in its write-ahead log. */
const marksOf = (path: string, state: FileState): Marks | undefined =>
  attempt(() => onFileAlone(path, (file) => state.read(file)));

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
