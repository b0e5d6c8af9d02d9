import { isUtf8 } from 'node:buffer';
import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { UnusableInput } from './unusable-input.ts';

type Bytes = AsyncGenerator<Buffer>;

const magics = {
  gzip: '1f8b',
  zstd: '28b52ffd',
  parquet: '50415231',
} as const;

/** What is recognised and cannot be read, with what to do about it. */
const unreadable: readonly (readonly [magic: string, meaning: string])[] = [
  ['504b0304', 'is a ZIP archive or a spreadsheet: unpack it, or save it as CSV'],
  ['425a68', 'is compressed by bzip2: bunzip2 -c <file> | fieldlog import -'],
  ['fd377a585a00', 'is compressed by xz: xz -dc <file> | fieldlog import -'],
  ['377abcaf271c', 'is a 7z archive: unpack it'],
  ['4152524f5731', 'is an Arrow file: write it as Parquet or CSV'],
  ['53514c69746520666f726d6174', 'is an SQLite database: export its tables as CSV'],
  ['d0cf11e0a1b11ae1', 'is a spreadsheet: save it as CSV'],
];

export const isParquet = (start: Buffer): boolean => startsWith(start, magics.parquet);

const startsWith = (bytes: Buffer, magic: string): boolean =>
  bytes.subarray(0, magic.length / 2).toString('hex') === magic;

/**
 * What a file holds once it is decompressed, gzip and zstd being known by content. Throws `UnusableInput`, also when
 * read for more than `most` bytes of a compressed file.
 */
export async function decompressed(
  bytes: Bytes,
  most = Number.POSITIVE_INFINITY,
): Promise<{ bytes: Bytes; notes: readonly string[] }> {
  const { start, whole } = await begun(bytes);
  const refusal = unreadable.find(([magic]) => startsWith(start, magic));
  if (refusal) throw new UnusableInput(refusal[1]);
  if (startsWith(start, magics.gzip))
    return { bytes: through(whole, createGunzip(), most), notes: ['compressed by gzip'] };
  if (startsWith(start, magics.zstd))
    return { bytes: through(whole, createZstdDecompress(), most), notes: ['compressed by zstd'] };
  return { bytes: whole, notes: [] };
}

async function* through(bytes: Bytes, transform: NodeJS.ReadWriteStream, most: number): Bytes {
  const source = Readable.from(bytes);
  // Faults come out of the loop below.
  pipeline(source, transform, () => {});
  let size = 0;
  try {
    for await (const chunk of transform as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > most) throw new UnusableInput(`holds more than ${most} bytes once it is decompressed`);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof UnusableInput) throw error;
    throw new UnusableInput(`cannot be decompressed: ${(error as Error).message}`);
  } finally {
    source.destroy();
  }
}

/** Enough bytes to know a file by. */
const startLength = 4096;

async function begun(bytes: Bytes): Promise<{ readonly start: Buffer; readonly whole: Bytes }> {
  const first: Buffer[] = [];
  let length = 0;
  while (length < startLength) {
    const next = await bytes.next();
    if (next.done) break;
    first.push(next.value);
    length += next.value.length;
  }
  return { start: Buffer.concat(first), whole: rejoined() };

  async function* rejoined(): Bytes {
    try {
      yield* first;
      yield* bytes;
    } finally {
      await bytes.return(undefined);
    }
  }
}

const byteOrderMarks = [
  ['efbbbf', 'utf-8'],
  ['fffe', 'utf-16le'],
  ['feff', 'utf-16be'],
] as const;

/**
 * The text of a file: in `encoding`, by its byte order mark, or UTF-8, in which nothing may be wrong unless it was
 * named. Throws `UnusableInput`, when read for what is not UTF-8.
 */
export async function decoded(
  bytes: Bytes,
  encoding: string | undefined,
): Promise<{ text: AsyncGenerator<string>; notes: readonly string[] }> {
  const { start, whole } = await begun(bytes);
  const [, marked] = byteOrderMarks.find(([mark]) => startsWith(start, mark)) ?? [];
  const found = encoding ?? marked ?? withoutMark(start);
  const isGuess = encoding === undefined && found !== 'utf-8';
  return {
    text: textOf(whole, found, encoding !== undefined),
    notes: isGuess ? [`encoded in ${found}`] : [],
  };
}

/** Text in UTF-16 has zeros in every other place, as long as most of it is ASCII. */
function withoutMark(start: Buffer): string {
  const zeros = [0, 0];
  for (const [i, byte] of start.entries()) if (byte === 0) zeros[i % 2] = (zeros[i % 2] ?? 0) + 1;
  const [even = 0, odd = 0] = zeros;
  if (4 * odd > start.length && even < odd) return 'utf-16le';
  return 4 * even > start.length && odd < even ? 'utf-16be' : 'utf-8';
}

async function* textOf(bytes: Bytes, encoding: string, isNamed: boolean): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding, { fatal: !isNamed });
  let lines = 1;
  let chunk: Buffer = Buffer.alloc(0);
  try {
    for await (chunk of bytes) {
      const text = decoder.decode(chunk, { stream: true });
      if (text !== '') yield text;
      if (!isNamed) lines += newlinesOf(chunk).length;
    }
    chunk = Buffer.alloc(0);
    const rest = decoder.decode();
    if (rest !== '') yield rest;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw error;
    throw new UnusableInput(
      encoding === 'utf-8'
        ? `is not UTF-8 in line ${lines + goodLines(chunk, lines === 1)}: name its encoding, such as --encoding windows-1252 (--encoding utf-8 refuses only the cells that are not)`
        : `is not ${encoding} to its end`,
    );
  }
}

function newlinesOf(bytes: Buffer): readonly number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) found.push(at);
  return found;
}

/** Lines before the first that is not UTF-8. Where a chunk is not the first, it may begin in the middle of a character. */
function goodLines(bytes: Buffer, isFirst: boolean): number {
  const ends = newlinesOf(bytes);
  const bad = ends.findIndex((end, i) => {
    const start = i === 0 ? 0 : (ends[i - 1] as number) + 1;
    return (isFirst || i > 0) && !isUtf8(bytes.subarray(start, end));
  });
  return bad === -1 ? ends.length : bad;
}

/** Throws `UnusableInput` for a name that is that of no encoding. */
export function encodingNamed(name: string): string {
  try {
    return new TextDecoder(name).encoding;
  } catch {
    throw new UnusableInput(
      `--encoding must be one such as utf-8, utf-16le, windows-1252 or shift_jis, not "${name}"`,
    );
  }
}
