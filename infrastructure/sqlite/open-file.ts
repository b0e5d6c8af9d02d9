import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { OperatorNeeded } from '../../application/ports/event-source.ts';

/** What is written to it is lost with the last process that has it open. */
export class FileReplaced extends OperatorNeeded {
  override readonly name = 'FileReplaced';
}

/** What a path names: device and inode, and bytes. A thread that opens the file later is given it. */
export type FileSeen = { readonly node: string | undefined; readonly bytes: bigint };

type OpenFileOptions = {
  /** Nothing of Fieldlog makes it smaller: where it has become so, another was copied over it. */
  readonly onlyGrows?: boolean;
  /** From when it was first opened; now, unless given. */
  readonly seen?: FileSeen;
};

/** A file that was just opened. A look takes microseconds, so every commit can afford two. */
export class OpenFile {
  readonly #path: string;
  readonly #opened: string | undefined;
  readonly #onlyGrows: boolean;
  #bytes: bigint;
  #overwritten = false;

  constructor(path: string, { onlyGrows = false, seen = seenAt(path) }: OpenFileOptions = {}) {
    this.#path = path;
    this.#onlyGrows = onlyGrows;
    this.#opened = seen.node;
    this.#bytes = seen.bytes;
  }

  /**
   * Throws `FileReplaced` when its path has come to name another file, or none, or when another was copied over it,
   * whose pages and those of the write-ahead log do not belong together.
   */
  assertInPlace(): void {
    const { node, bytes } = seenAt(this.#path);
    if (node !== this.#opened || node === undefined) {
      const what = node === undefined ? 'deleted' : 'replaced by another';
      throw new FileReplaced(
        `${basename(this.#path)} was ${what} while it was in use: stop Fieldlog, put the file back and start it again`,
      );
    }
    if (!this.#onlyGrows) return;
    // For good: a checkpoint makes it longer again, but not whole.
    this.#overwritten ||= bytes < this.#bytes;
    this.#bytes = bytes;
    if (!this.#overwritten) return;
    const name = basename(this.#path);
    throw new FileReplaced(
      `${name} was overwritten while it was in use: stop Fieldlog, remove ${name} with ${name}-wal and ${name}-shm, ` +
        'put the right one in its place and start Fieldlog again',
    );
  }
}

/** Without a file, `node` is `undefined`. */
export function seenAt(path: string): FileSeen {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return { node: found && `${found.dev}:${found.ino}`, bytes: found?.size ?? 0n };
}
