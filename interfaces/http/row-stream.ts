import type { Request, Response } from 'express';
import type { MetricValue } from '../../domain/telemetry.ts';
import { HttpProblem } from './problems.ts';

/** Rows as they come, and once they have all come, the cursor of those that follow. */
export type RowPage<Row> = {
  readonly rows: AsyncIterable<readonly Row[]>;
  next(): string | null;
};

const nextTrailer = 'Fieldlog-Next';
const writeAt = 65_536;

/**
 * Writes a response of any length, holding one chunk at most: the source waits while the client reads
 * slowly and is stopped when the client disconnects. A failure before the first row still becomes a problem.
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
    res.status(200).set({ ...headers, 'Content-Type': `${format.type}; charset=utf-8` });
    res.vary('Accept');
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
export function drained(res: Response): Promise<void> {
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

/** The first `limit` rows; one more was fetched to know whether more follow. */
export function firstPage<Row>(
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
export function wholeBuckets<Row>(
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

/** How one kind of row is serialized in each response format. */
export type RowShape<Row> = {
  /** The member of a JSON response that holds the rows. */
  readonly name: string;
  /** The header line of a CSV response. */
  readonly columns: readonly string[];
  json(row: Row): string;
  csv(row: Row): string;
};

/** A response of many rows, written chunk by chunk. */
type RowFormat = {
  readonly type: string;
  /** Where the cursor of the next page goes: the body, or a trailer when the body has no place for it. */
  readonly nextIn: 'body' | 'trailer';
  begin<Row>(shape: RowShape<Row>): string;
  row<Row>(shape: RowShape<Row>, row: Row, first: boolean): string;
  end(next: string | null): string;
};

const json: RowFormat = {
  type: 'application/json',
  nextIn: 'body',
  begin: ({ name }) => `{"${name}":[`,
  row: (shape, row, first) => (first ? shape.json(row) : `,${shape.json(row)}`),
  end: (next) => `],"next":${JSON.stringify(next)}}`,
};

const ndjson: RowFormat = {
  type: 'application/x-ndjson',
  nextIn: 'trailer',
  begin: () => '',
  row: (shape, row) => `${shape.json(row)}\n`,
  end: () => '',
};

/**
 * RFC 4180. A text that a spreadsheet would take for a formula is not changed; control characters, which CSV has no place
 * for, are `\u001b` and the like, and a backslash before what looks like one is `\u005c`.
 */
const csv: RowFormat = {
  type: 'text/csv',
  nextIn: 'trailer',
  begin: ({ columns }) => `${columns.join(',')}\r\n`,
  row: (shape, row) => `${shape.csv(row)}\r\n`,
  end: () => '',
};

const formats = [json, ndjson, csv] as const;
const rowTypes = formats.map(({ type }) => type);

/** The form the caller likes best; throws a problem when it likes none. */
export function formatFor(req: Request): RowFormat {
  const type = req.accepts(rowTypes);
  const format = formats.find((one) => one.type === type);
  if (!format) throw new HttpProblem('not-acceptable', `Accept must allow ${rowTypes.join(' or ')}`);
  return format;
}

/** `null` for what JSON has no number for. */
export const jsonValue = (value: MetricValue | null): string =>
  typeof value === 'number' && Number.isFinite(value) ? String(value) : JSON.stringify(value);

export const csvValue = (value: MetricValue | null): string => {
  if (typeof value === 'string') return isPlain(value) ? value : quoted(value);
  return value === null || !Number.isFinite(Number(value)) ? '' : String(value);
};

/** Text that could be taken for a number or a truth value is quoted, so that an import does not take it for one. */
const isPlain = (text: string): boolean =>
  !/[",\\\p{Cc}]/u.test(text) && Number.isNaN(Number(text)) && !/^(true|false)$/.test(text);

const quoted = (value: string): string =>
  `"${value.replaceAll('"', '""').replaceAll(/(?![\t\r\n])\p{Cc}|\\(?=u[0-9a-f]{4})/gu, escaped)}"`;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
