import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { OperatorNeeded } from '../../application/ports/event-source.ts';

/** What is written to it is lost with the last process that has it open. */
export class FileReplaced extends OperatorNeeded {
  override readonly name = 'FileReplaced';
}

/** A file that was just opened. A look takes microseconds, so every commit can afford two. */
export class OpenFile {
  readonly #path: string;
  readonly #opened: string | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#opened = nodeOf(path);
  }

  /** Throws `FileReplaced` when its path has come to name another file, or none. */
  assertInPlace(): void {
    const now = nodeOf(this.#path);
    if (now === this.#opened && now !== undefined) return;
    const what = now === undefined ? 'deleted' : 'replaced by another';
    throw new FileReplaced(
      `${basename(this.#path)} was ${what} while it was in use: stop Fieldlog, put the file back and start it again`,
    );
  }
}

function nodeOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}
