import { z } from 'zod';
import type { Ids } from '../../application/ports/system.ts';
import { invalidRequest } from './problems.ts';
import { single } from './validation.ts';

export const cursorParameter = single('must be a cursor')
  .optional()
  .meta({ description: 'Cursor: `next` of the previous page, with all other parameters unchanged.' });

export const next = z
  .string()
  .nullable()
  .meta({ description: 'Pass it as `cursor` for the next page; null on the last.' });

type Cursors<Key> = {
  write(key: Key): string;
  /** Throws a problem for text that `write` did not return for the same query. */
  read(cursor: string | undefined): Key | undefined;
};

/**
 * Opaque cursors into the result of one query, identified by every parameter that decides the result. A
 * digest detects a cursor that was changed or comes from another query; it hides nothing.
 */
export function cursors<Schema extends z.ZodType>(
  ids: Ids,
  question: unknown,
  key: Schema,
): Cursors<z.output<Schema>> {
  const asked = JSON.stringify(question);
  return { write, read };

  function write(value: z.output<Schema>): string {
    const keyText = JSON.stringify(value);
    return Buffer.from(checkOf(keyText) + keyText).toString('base64url');
  }

  function read(cursor: string | undefined): z.output<Schema> | undefined {
    if (cursor === undefined) return undefined;
    const decoded = Buffer.from(cursor, 'base64url').toString();
    const keyText = decoded.slice(checkLength);
    // The digest is no secret: whoever knows how it is made can put anything behind it.
    const found = decoded.slice(0, checkLength) === checkOf(keyText) ? keyIn(keyText) : undefined;
    if (found?.success) return found.data;
    throw invalidRequest([
      { in: 'query', path: '/cursor', detail: 'must be `next` of a response to the same query' },
    ]);
  }

  function keyIn(keyText: string): z.ZodSafeParseResult<z.output<Schema>> | undefined {
    try {
      return key.safeParse(JSON.parse(keyText));
    } catch {
      return undefined;
    }
  }

  function checkOf(keyText: string): string {
    return ids.digest(`${keyText} of ${asked}`).slice(0, checkLength);
  }
}

const checkLength = 16;

/** The query fetched one row more than `limit`, which shows whether another page follows. */
export function pageOf<Row, Key>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => Key,
  { write }: Cursors<Key>,
): { readonly rows: readonly Row[]; readonly next: string | null } {
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return { rows: page, next: rows.length > limit && last !== undefined ? write(keyOf(last)) : null };
}

/** `Link` of RFC 8288 to the page after the one requested by `url`. */
export function nextLink(url: string, next: string | null): Record<string, string> {
  if (next === null) return {};
  const [path = '', query = ''] = url.split('?', 2);
  const parameters = new URLSearchParams(query);
  parameters.set('cursor', next);
  return { Link: `<${path}?${parameters}>; rel="next"` };
}
