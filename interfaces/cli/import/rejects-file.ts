import { once } from 'node:events';
import { createWriteStream, type Stats, type WriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import type { RefusedLine } from '../../import/counts.ts';
import type { MappedRow, Rejects } from '../../import/import-file.ts';
import { type InputFile, identityOf } from '../../import/input-file.ts';
import { RejectLines } from '../../import/rejects.ts';
import { UsageError } from '../exit-codes.ts';
import { unwritable } from '../terminal.ts';

export const noRejects = { write: async () => {}, close: async () => {} };

/** Keeps refused lines in a file. */
export class RejectsFile implements Rejects {
  readonly #path: string;
  readonly #stream: WriteStream;
  readonly #ended: Promise<void>;
  readonly #isNew: boolean;
  readonly #lines = new RejectLines();
  #isEmpty = true;

  private constructor(path: string, stream: WriteStream, isNew: boolean) {
    this.#path = path;
    this.#stream = stream;
    this.#isNew = isNew;
    this.#ended = finished(stream);
    this.#ended.catch(() => {});
  }

  /** Overwrites what is there: `checkRejects` comes first. Throws as `unwritable` says. */
  static async open(path: string): Promise<RejectsFile> {
    const isNew = (await found(path)) === undefined;
    const stream = createWriteStream(path, { flags: isNew ? 'wx' : 'w' });
    await once(stream, 'open').catch((error) => {
      throw unwritable(path, error);
    });
    return new RejectsFile(path, stream, isNew);
  }

  async write(line: RefusedLine, row: Pick<MappedRow, 'row' | 'plan'>): Promise<void> {
    this.#isEmpty = false;
    if (!this.#stream.write(this.#lines.of(line, row)))
      await Promise.race([once(this.#stream, 'drain'), this.#ended]).catch((error) => {
        throw unwritable(this.#path, error);
      });
  }

  /** A file that would be empty is taken away again. */
  async close(): Promise<void> {
    this.#stream.end();
    await this.#ended.catch((error) => {
      throw unwritable(this.#path, error);
    });
    if (this.#isNew && this.#isEmpty) await rm(this.#path);
  }
}

const found = (path: string): Promise<Stats | undefined> => stat(path).catch(() => undefined);

/** Throws `UsageError` for a file that is there already, unless with `force`, and always for one of `inputs`. */
export async function checkRejects(
  path: string,
  inputs: readonly InputFile[],
  force: boolean | undefined,
): Promise<void> {
  const there = await found(path);
  if (!there) return;
  if (inputs.some(({ identity }) => identity === identityOf(there)))
    throw new UsageError(`${path} is a file that is imported: name another for --rejects`);
  if (there.isFile() && !force)
    throw new UsageError(`${path} is there already: --force overwrites it, or name another for --rejects`);
}
