import { fstatSync } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { addAbortSignal } from 'node:stream';
import { temporaryDiskFull, UnusableInput } from './unusable-input.ts';

/** Names the file where its content is what the caller has to say more about. */
export async function ofFile<Result>(name: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (error) {
    throw error instanceof UnusableInput ? new UnusableInput(`${name}: ${error.message}`) : error;
  }
}

const chunkSize = 65_536;

/**
 * A file that is read more than once, as far as it reached when it was opened. What can be read only once, standard
 * input or a pipe, is first written to a temporary file, which is gone with the process.
 */
export class InputFile {
  readonly name: string;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** As the file system identifies files; `undefined` for what came through a pipe or over a connection. */
  readonly identity: string | undefined;
  readonly #handle: FileHandle;
  #bytesRead = 0;

  private constructor(path: string, handle: FileHandle, size: number, identity: string | undefined) {
    this.name = path === '-' ? 'standard input' : path;
    this.path = path;
    this.size = size;
    this.identity = identity;
    this.#handle = handle;
  }

  /** `-` is standard input. Throws `UnusableInput`. */
  static async open(file: string, signal: AbortSignal): Promise<InputFile> {
    if (file === '-') return InputFile.#kept(file, process.stdin, signal, identityOf(fstatSync(0)));
    const handle = await open(file).catch((error) => {
      throw new UnusableInput(
        error.code === 'ENOENT' ? `there is no file ${file}` : `${file} cannot be read: ${error.code}`,
      );
    });
    try {
      const stats = await handle.stat();
      if (stats.isDirectory()) throw new UnusableInput(`${file} is a folder: name the files in it`);
      if (stats.isFile()) return new InputFile(file, handle, stats.size, identityOf(stats));
      const kept = await InputFile.#kept(file, handle.createReadStream({ autoClose: false }), signal);
      await handle.close();
      return kept;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** What came over a connection, under a name for people. Throws what `source` throws. */
  static received(name: string, source: AsyncIterable<Buffer>, signal: AbortSignal): Promise<InputFile> {
    return InputFile.#kept(name, source, signal);
  }

  static async #kept(
    file: string,
    source: AsyncIterable<Buffer>,
    signal: AbortSignal,
    identity?: string,
  ): Promise<InputFile> {
    const handle = await temporaryFile().catch(throwFull);
    let size = 0;
    try {
      for await (const chunk of source) {
        signal.throwIfAborted();
        await handle.writeFile(chunk).catch(throwFull);
        size += chunk.length;
      }
    } catch (error) {
      await handle.close();
      throw error;
    }
    return new InputFile(file, handle, size, identity);
  }

  /** The file from its beginning; ends early when `signal` is aborted. Throws `UnusableInput`. */
  async *chunks(signal: AbortSignal): AsyncGenerator<Buffer> {
    this.#bytesRead = 0;
    if (this.size === 0) return;
    const source = this.#handle.createReadStream({
      start: 0,
      end: this.size - 1,
      autoClose: false,
      highWaterMark: chunkSize,
    });
    try {
      for await (const chunk of addAbortSignal(signal, source)) {
        this.#bytesRead += chunk.length;
        yield chunk;
      }
    } catch (error) {
      if (signal.aborted) return;
      const { code } = error as NodeJS.ErrnoException;
      throw code === undefined ? error : new UnusableInput(`${this.name} cannot be read: ${code}`);
    }
  }

  /** The bytes from `start` to before `end`. */
  async slice(start: number, end: number): Promise<ArrayBuffer> {
    const bytes = new Uint8Array(end - start);
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await this.#handle.read(bytes, at, bytes.length - at, start + at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    this.#bytesRead = end;
    return bytes.buffer;
  }

  /** Says that nothing was read yet, until the next pass begins. */
  rewind(): void {
    this.#bytesRead = 0;
  }

  /** Of the current pass. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** An open file outlives its name, and nothing is left behind however the process ends. */
async function temporaryFile(): Promise<FileHandle> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-import-'));
  const handle = await open(path.join(folder, 'input'), 'w+');
  await rm(folder, { recursive: true });
  return handle;
}

function throwFull(error: NodeJS.ErrnoException): never {
  throw error.code === 'ENOSPC' ? temporaryDiskFull(error) : error;
}

export const identityOf = ({ dev, ino }: { readonly dev: number; readonly ino: number }): string =>
  `${dev}:${ino}`;
