/**
 * Pages of rows in the order of a growing id, each read when the one before has been dealt with, so that rows may be
 * removed meanwhile. Throws what `read` throws.
 */
export async function* pagesById<Row>(
  limit: number,
  read: (page: { readonly limit: number; readonly after: number }) => Promise<readonly Row[]>,
  idOf: (row: Row) => number,
): AsyncGenerator<readonly Row[]> {
  for (let after = 0; ; ) {
    const page = await read({ limit, after });
    yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < limit) return;
    after = idOf(last);
  }
}
