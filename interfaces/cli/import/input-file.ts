import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { addAbortSignal } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { UsageError } from '../exit-codes.ts';
import type { Rows } from './cells.ts';
import { csvRows } from './csv-rows.ts';
import { jsonArrayRows, ndjsonRows } from './json-rows.ts';

export const inputFormats = ['auto', 'csv', 'ndjson', 'json'] as const;
export type InputFormat = (typeof inputFormats)[number];

export type InputFile = Rows & {
  readonly name: string;
  /** Bytes; `undefined` for standard input. */
  readonly size: number | undefined;
  bytesRead(): number;
};

/**
 * A file of records, or standard input for `-`; it ends early when `signal` is aborted. Throws `UsageError` when
 * there is nothing that can be read.
 */
export async function openInput(
  path: string,
  format: InputFormat,
  delimiter: string | undefined,
  signal: AbortSignal,
): Promise<InputFile> {
  const name = path === '-' ? 'standard input' : path;
  const size = path === '-' ? undefined : await sizeOf(path);
  let bytes = 0;
  const source = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: 262_144 });
  const text = decoded(addAbortSignal(signal, source), name, signal, (read) => {
    bytes += read;
  });
  const rows = await rowsOf(text, format, delimiter ?? delimiterOf(path)).catch((error) => {
    signal.throwIfAborted();
    return ofFile(name, () => {
      throw error;
    });
  });
  return { name, size, bytesRead: () => bytes, ...rows };
}

/** Names the file where its content is what the caller has to say more about. */
export function ofFile<Result>(name: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${name}: ${error.message}`) : error;
  }
}

const delimiterOf = (path: string): string => (/\.(tsv|tab)$/i.test(path) ? '\t' : ',');

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(({ code }: NodeJS.ErrnoException) => {
    throw new UsageError(code === 'ENOENT' ? `there is no file ${path}` : `${path} cannot be read: ${code}`);
  });
  if (found.isDirectory()) throw new UsageError(`${path} is a folder: name the files in it`);
  return found.size;
}

async function rowsOf(text: AsyncGenerator<string>, format: InputFormat, delimiter: string): Promise<Rows> {
  const { first, whole } = await peeked(text);
  const kind = format === 'auto' ? formatOf(first) : format;
  if (kind === 'csv') return csvRows(whole, delimiter);
  return { header: undefined, rows: kind === 'json' ? jsonArrayRows(whole) : ndjsonRows(whole) };
}

/** No line of column names starts like JSON. */
function formatOf(first: string): Exclude<InputFormat, 'auto'> {
  const start = first.trimStart()[0];
  if (start === '[') return 'json';
  return start === '{' ? 'ndjson' : 'csv';
}

async function* decoded(
  bytes: AsyncIterable<Buffer>,
  name: string,
  signal: AbortSignal,
  count: (bytes: number) => void,
): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let first = true;
  try {
    for await (const chunk of bytes) {
      count(chunk.length);
      const text = decoder.write(chunk);
      yield first && text.startsWith(byteOrderMark) ? text.slice(1) : text;
      if (text !== '') first = false;
    }
  } catch (error) {
    if (signal.aborted) return;
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined ? error : new UsageError(`${name} cannot be read: ${code}`);
  }
  const rest = decoder.end();
  if (rest !== '') yield rest;
}

const byteOrderMark = '\ufeff';

/** The first text that is more than space, without taking it from what follows. */
async function peeked(
  text: AsyncGenerator<string>,
): Promise<{ readonly first: string; readonly whole: AsyncGenerator<string> }> {
  let first = '';
  for (let next = await text.next(); !next.done; next = await text.next()) {
    first += next.value;
    if (first.trim() !== '') break;
  }
  return { first, whole: rejoined() };

  async function* rejoined(): AsyncGenerator<string> {
    yield first;
    yield* text;
  }
}
