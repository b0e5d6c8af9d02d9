import type { Reading } from '../../../domain/telemetry.ts';
import { type BrokenRow, isBroken, type Row } from './cells.ts';
import type { ColumnOptions } from './columns.ts';
import { newFileTally, type RefusedLine, type Tally } from './counts.ts';
import { type InputFormat, ofFile, openInput } from './input-file.ts';
import type { Rejects } from './rejects.ts';
import { type RowMapping, rowMapping } from './row-mapping.ts';
import type { ReadingSink } from './sinks.ts';
import type { TimeReader } from './timestamps.ts';

export type SendingOptions = {
  readonly batch: number;
  /** What to say of devices that are not registered yet; they are refused when absent. */
  readonly register: { readonly name?: string; readonly type: string } | undefined;
  /** How many refused lines the tally keeps. */
  readonly shown: number;
};

type Sent = { readonly row: Row; readonly reading: Reading };

/**
 * Sends the readings of one file, a batch at a time while the next is being read. Stops between rows when `signal`
 * is aborted; whatever the tally then counts is durable or refused. Throws what the sink throws.
 */
export async function importFile(
  history: HistoryFile,
  sink: ReadingSink,
  tally: Tally,
  rejects: Rejects,
  { batch: batchSize, register, shown }: SendingOptions,
  signal: AbortSignal,
): Promise<void> {
  const file = newFileTally(history.name);
  tally.files.push(file);

  let batch: Sent[] = [];
  let sending = Promise.resolve();
  for await (const row of history.rows) {
    if (signal.aborted) break;
    await take(row);
  }
  if (!signal.aborted) await flush();
  await sending;
  file.leftOut = history.mapping.leftOut();

  async function take(row: Row | BrokenRow): Promise<void> {
    if (isBroken(row)) return refuse(row, { reason: row.fault });
    const mapped = history.mapping.map(row);
    if (mapped === 'empty') file.empty += 1;
    else if ('refusal' in mapped) await refuse(row, mapped.refusal);
    else {
      batch.push({ row, reading: mapped.reading });
      if (batch.length >= batchSize) await flush();
    }
  }

  async function flush(): Promise<void> {
    await sending;
    sending = deliver(batch);
    // Whoever waits for it next is told; until then it is not an unhandled one.
    sending.catch(() => {});
    batch = [];
  }

  async function deliver(sent: readonly Sent[]): Promise<void> {
    if (sent.length === 0) return;
    await registerNew(sent);
    const refused = await sink.send(sent.map(({ reading }) => reading));
    file.accepted += sent.length - refused.length;
    for (const { index, reason } of refused) await refuse((sent[index] as Sent).row, { reason });
  }

  async function registerNew(sent: readonly Sent[]): Promise<void> {
    const unseen = new Set(
      sent.map(({ reading }) => reading.deviceId).filter((id) => !tally.devices.has(id)),
    );
    if (register && unseen.size > 0) {
      const { name, type } = register;
      const devices = [...unseen].map((deviceId) => ({ deviceId, name: name ?? deviceId, type }));
      tally.registered += await sink.register(devices);
    }
    for (const deviceId of unseen) tally.devices.add(deviceId);
  }

  async function refuse(row: Row | BrokenRow, fault: Pick<RefusedLine, 'column' | 'reason'>): Promise<void> {
    const refused = { file: history.name, line: row.line, ...fault };
    file.refused += 1;
    if (tally.refusals.length < shown) tally.refusals.push(refused);
    await rejects.write(refused, isBroken(row) ? undefined : row.values);
  }
}

/** A file of records and what they mean. */
export type HistoryFile = {
  readonly name: string;
  /** Bytes; `undefined` for standard input. */
  readonly size: number | undefined;
  bytesRead(): number;
  readonly rows: AsyncIterable<Row | BrokenRow>;
  readonly mapping: RowMapping;
};

export type HistoryOptions = {
  readonly format: InputFormat;
  /** What follows from the file's name when absent. */
  readonly delimiter: string | undefined;
  readonly columns: ColumnOptions;
  readonly time: TimeReader;
};

/** Rows by whose cells it is decided what a column holds. */
const sampleSize = 1000;

/** Throws `UsageError` when the file cannot be read, or its columns do not say enough. */
export async function openHistory(
  path: string,
  { format, delimiter, columns, time }: HistoryOptions,
  signal: AbortSignal,
): Promise<HistoryFile> {
  const { name, size, bytesRead, header, rows } = await openInput(path, format, delimiter, signal);
  const rest = rows[Symbol.asyncIterator]();
  const sample = await firstOf(rest, sampleSize);
  const whole = sample.filter((row): row is Row => !isBroken(row));
  const mapping = ofFile(name, () => rowMapping(header, whole, columns, time));
  return { name, size, bytesRead, rows: joined(sample, rest), mapping };
}

async function firstOf<Item>(items: AsyncIterator<Item>, count: number): Promise<Item[]> {
  const first: Item[] = [];
  while (first.length < count) {
    const next = await items.next();
    if (next.done) break;
    first.push(next.value);
  }
  return first;
}

async function* joined<Item>(first: readonly Item[], rest: AsyncIterator<Item>): AsyncGenerator<Item> {
  try {
    yield* first;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
