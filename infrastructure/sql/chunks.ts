/** As many parameters as every engine takes in one statement. */
const parametersAtOnce = 500;

export function* chunks<T>(items: readonly T[], size = parametersAtOnce): Generator<readonly T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size);
}

export async function inChunks<T, Row>(
  items: readonly T[],
  read: (some: readonly T[]) => Promise<Row[]>,
  size = parametersAtOnce,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const some of chunks(items, size)) rows.push(...(await read(some)));
  return rows;
}

export const placeholders = (items: readonly unknown[], one = '?'): string => items.map(() => one).join(',');
