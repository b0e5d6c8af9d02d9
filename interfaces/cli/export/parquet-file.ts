import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { zstdCompressSync } from 'node:zlib';
import { fileWriter, ParquetWriter } from 'hyparquet-writer';
import type { MetricValue } from '../../../domain/telemetry.ts';

type Line = {
  readonly deviceId: string;
  readonly timestamp: string;
  readonly metric: string;
  readonly value: MetricValue;
};

/** Rows of a group: so many are in memory at once. */
const groupRows = 100_000;

const schema: ConstructorParameters<typeof ParquetWriter>[0]['schema'] = [
  { name: 'root', num_children: 6 },
  { name: 'deviceId', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  {
    name: 'timestamp',
    type: 'INT64',
    converted_type: 'TIMESTAMP_MILLIS',
    logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' },
    repetition_type: 'REQUIRED',
  },
  { name: 'metric', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'value', type: 'DOUBLE', repetition_type: 'OPTIONAL' },
  { name: 'value_text', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  { name: 'value_bool', type: 'BOOLEAN', repetition_type: 'OPTIONAL' },
];

/** Makes a Parquet file of lines of NDJSON. `value` is that of the SQL views: a number, or 1 and 0 for a boolean. */
export async function writeParquet(from: string, to: string): Promise<void> {
  const writer = new ParquetWriter({
    writer: fileWriter(to),
    schema,
    codec: 'ZSTD',
    compressors: { ZSTD: (bytes) => zstdCompressSync(bytes) },
    createdBy: 'fieldlog',
  });
  let lines: Line[] = [];
  for await (const text of createInterface({
    input: createReadStream(from),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    lines.push(JSON.parse(text));
    if (lines.length < groupRows) continue;
    await writer.write(groupOf(lines));
    lines = [];
  }
  if (lines.length > 0) await writer.write(groupOf(lines));
  await writer.finish();
}

const groupOf = (lines: readonly Line[]): Parameters<ParquetWriter['write']>[0] => ({
  rowGroupSize: groupRows,
  columnData: [
    { name: 'deviceId', data: lines.map(({ deviceId }) => deviceId) },
    { name: 'timestamp', data: lines.map(({ timestamp }) => BigInt(Date.parse(timestamp))) },
    { name: 'metric', data: lines.map(({ metric }) => metric) },
    { name: 'value', data: lines.map(({ value }) => (typeof value === 'string' ? null : Number(value))) },
    { name: 'value_text', data: lines.map(({ value }) => (typeof value === 'string' ? value : null)) },
    { name: 'value_bool', data: lines.map(({ value }) => (typeof value === 'boolean' ? value : null)) },
  ],
});
