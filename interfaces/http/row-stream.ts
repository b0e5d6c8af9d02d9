import type { Response } from 'express';
import type { RowFormat, RowShape } from './row-format.ts';

/** Rows as they come, and once they have all come, the cursor of those that follow. */
export type RowPage<Row> = {
  readonly rows: AsyncIterable<readonly Row[]>;
  next(): string | null;
};

const nextTrailer = 'Fieldlog-Next';
const writeAt = 65_536;

/**
 * Writes an answer of any length, never holding more of it than a chunk: the source waits while the caller reads
 * slowly and is told to stop when the caller goes away. What fails before the first row can still become a problem.
 */
export async function streamRows<Row>(
  res: Response,
  { rows, next }: RowPage<Row>,
  shape: RowShape<Row>,
  format: RowFormat,
  headers: Readonly<Record<string, string>>,
): Promise<undefined> {
  const chunks = rows[Symbol.asyncIterator]();
  try {
    let chunk = await chunks.next();
    res.status(200).set({ ...headers, Vary: 'Accept', 'Content-Type': `${format.type}; charset=utf-8` });
    if (format.nextIn === 'trailer') res.set('Trailer', nextTrailer);
    if (res.req.method === 'HEAD') return void res.end();

    let text = format.begin(shape);
    let first = true;
    for (; !chunk.done; chunk = await chunks.next()) {
      for (const row of chunk.value) {
        text += format.row(shape, row, first);
        first = false;
      }
      if (text.length < writeAt) continue;
      if (!res.write(text)) await drained(res);
      if (res.destroyed) return;
      text = '';
    }
    const following = next();
    if (format.nextIn === 'trailer' && following !== null) res.addTrailers({ [nextTrailer]: following });
    res.end(text + format.end(following));
  } finally {
    await chunks.return?.();
  }
}

/** Resolves when there is room for more, or nobody left to read it. */
function drained(res: Response): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      res.off('drain', done);
      res.off('close', done);
      resolve();
    };
    res.on('drain', done);
    res.on('close', done);
  });
}

/** The first `limit` of rows of which one more was asked for, to know whether more follow. */
export function limited<Row>(
  chunks: AsyncIterable<readonly Row[]>,
  limit: number,
  cursorAfter: (row: Row) => string,
): RowPage<Row> {
  let last: Row | undefined;
  let more = false;
  return { rows: rows(), next: () => (more && last !== undefined ? cursorAfter(last) : null) };

  async function* rows(): AsyncGenerator<readonly Row[]> {
    let left = limit;
    for await (const chunk of chunks) {
      more = chunk.length > left;
      const wanted = more ? chunk.slice(0, left) : chunk;
      left -= wanted.length;
      last = wanted.at(-1) ?? last;
      if (wanted.length > 0) yield wanted;
      if (more) return;
    }
  }
}

/** All rows of a source that itself stops at or soon after `limit`, and stops before it only when none are left. */
export function untilFull<Row>(
  chunks: AsyncIterable<readonly Row[]>,
  limit: number,
  cursorAfter: (row: Row) => string,
): RowPage<Row> {
  let last: Row | undefined;
  let count = 0;
  return { rows: rows(), next: () => (count >= limit && last !== undefined ? cursorAfter(last) : null) };

  async function* rows(): AsyncGenerator<readonly Row[]> {
    for await (const chunk of chunks) {
      count += chunk.length;
      last = chunk.at(-1) ?? last;
      yield chunk;
    }
  }
}
