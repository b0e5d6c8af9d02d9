import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetRead,
  type SchemaElement,
} from 'hyparquet';
import type { InputRows, Row, RowChunks } from './cells.ts';
import { UnusableInput } from './unusable-input.ts';

/** Of a page, however much it says. */
const greatestPage = 268_435_456;
const within = (length: number) => ({ maxOutputLength: Math.min(Math.max(length, 1), greatestPage) });

const compressors: Compressors = {
  GZIP: (input, length) => gunzipSync(input, within(length)),
  ZSTD: (input, length) => zstdDecompressSync(input, within(length)),
  BROTLI: (input, length) => brotliDecompressSync(input, within(length)),
};

type Cells = ReadonlyMap<string, readonly unknown[]>;

/** Makes of a timestamp what the file says it is: a moment, or what the clocks of some zone showed. */
type Restore = (value: unknown) => unknown;

/**
 * Rows of a Parquet file, one row group in memory at a time. Throws `UnusableInput`, also for one of more than
 * `mostCells`.
 */
export async function parquetRows(
  file: AsyncBuffer,
  signal: AbortSignal,
  mostCells = Number.POSITIVE_INFINITY,
): Promise<InputRows> {
  const metadata = await parquetMetadataAsync(file).catch(unreadable);
  const columns = metadata.schema.slice(1).filter(isTopLevel(metadata.schema));
  const header = columns.map(({ name }) => name);
  if (metadata.row_groups.some(({ num_rows }) => Number(num_rows) * header.length > mostCells))
    throw new UnusableInput(
      `has more than ${mostCells} values in a row group: write it with smaller ones, or use fieldlog import`,
    );
  const restored = new Map(columns.map((column) => [column.name, restoreOf(column)]));
  return { header, commaIsFree: false, notes: ['Parquet'], rows: rows() };

  async function* rows(): RowChunks {
    let rowStart = 0;
    for (const { num_rows } of metadata.row_groups) {
      if (signal.aborted) return;
      const rowEnd = rowStart + Number(num_rows);
      const cells = await readGroup(file, metadata, rowStart, rowEnd);
      yield rowsOf(cells, rowStart, rowEnd - rowStart);
      rowStart = rowEnd;
    }
  }

  function* rowsOf(cells: Cells, rowStart: number, count: number): Generator<Row> {
    for (let row = 0; row < count; row += 1)
      yield {
        line: rowStart + row + 1,
        values: Object.fromEntries(
          header.map((name) => [name, restored.get(name)?.(cells.get(name)?.[row]) ?? null]),
        ),
      };
  }
}

async function readGroup(
  file: AsyncBuffer,
  metadata: FileMetaData,
  rowStart: number,
  rowEnd: number,
): Promise<Cells> {
  const cells = new Map<string, unknown[]>();
  await parquetRead({
    file,
    metadata,
    rowStart,
    rowEnd,
    compressors,
    onChunk({ columnName, columnData, rowStart: first }) {
      const column = cells.get(columnName) ?? [];
      cells.set(columnName, column);
      for (let i = 0; i < columnData.length; i += 1) column[first - rowStart + i] = columnData[i];
    },
  }).catch(unreadable);
  return cells;
}

const unreadable = (error: Error): never => {
  throw new UnusableInput(`is no Parquet file that can be read here: ${error.message}`);
};

/** The schema is a tree written in depth-first order. */
function isTopLevel(schema: readonly SchemaElement[]): (element: SchemaElement) => boolean {
  const top = new Set<SchemaElement>();
  for (let at = 1; at < schema.length; at = endOf(schema, at)) top.add(schema[at] as SchemaElement);
  return (element) => top.has(element);
}

function endOf(schema: readonly SchemaElement[], at: number): number {
  let end = at + 1;
  for (let child = 0; child < (schema[at]?.num_children ?? 0); child += 1) end = endOf(schema, end);
  return end;
}

function restoreOf({ converted_type, logical_type }: SchemaElement): Restore {
  const ofDates = (text: (iso: string) => string) => (value: unknown) =>
    value instanceof Date ? text(value.toISOString()) : value;
  if (converted_type === 'DATE' || logical_type?.type === 'DATE') return ofDates((iso) => iso.slice(0, 10));
  const isLocal = logical_type?.type === 'TIMESTAMP' && !logical_type.isAdjustedToUTC;
  return isLocal ? ofDates((iso) => iso.slice(0, -1)) : (value) => value;
}
