import type { Reading } from '../../../domain/telemetry/reading.ts';
import type { ColumnOptions } from './columns.ts';
import { type InputFile, ofFile } from './input-file.ts';
import type { ReadingSink } from './reading-sink.ts';
import type { Rejects } from './rejects-file.ts';
import { rowMapping } from './row-mapping.ts';
import { type BrokenRow, isBroken, type Row } from './rows.ts';
import { newFileTally, type RefusedLine, type Tally } from './tally.ts';
import type { TimeReader } from './timestamps.ts';

export type ImportOptions = {
  readonly columns: ColumnOptions;
  readonly time: TimeReader;
  readonly batch: number;
  /** What to say of devices that are not registered yet; they are refused when absent. */
  readonly register: { readonly name?: string; readonly type: string } | undefined;
  /** How many refused lines the tally keeps. */
  readonly shown: number;
};

type Sent = { readonly row: Row; readonly reading: Reading };

/** Rows by whose cells it is decided what a column holds. */
const sampleSize = 1000;

/**
 * Sends the readings of one file, a batch at a time while the next is being read. Stops between rows when `signal`
 * is aborted; whatever the tally then counts is durable or refused. Throws `UsageError` before the first reading is
 * sent, and what the sink throws.
 */
export async function importFile(
  input: InputFile,
  sink: ReadingSink,
  tally: Tally,
  rejects: Rejects,
  { columns, time, batch: batchSize, register, shown }: ImportOptions,
  signal: AbortSignal,
): Promise<void> {
  const file = newFileTally(input.name);
  tally.files.push(file);
  const rows = input.rows[Symbol.asyncIterator]();
  const sample = await firstOf(rows, sampleSize);
  const whole = sample.filter((row): row is Row => !isBroken(row));
  const mapping = ofFile(input.name, () => rowMapping(input.header, whole, columns, time));

  let batch: Sent[] = [];
  let sending = Promise.resolve();
  for await (const row of joined(sample, rows)) {
    if (signal.aborted) break;
    await take(row);
  }
  if (!signal.aborted) await flush();
  await sending;
  file.leftOut = mapping.leftOut();

  async function take(row: Row | BrokenRow): Promise<void> {
    if (isBroken(row)) return refuse(row, { reason: row.fault });
    const mapped = mapping.map(row);
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
    const refused = { file: input.name, line: row.line, ...fault };
    file.refused += 1;
    if (tally.refusals.length < shown) tally.refusals.push(refused);
    await rejects.write(refused, isBroken(row) ? undefined : row.values);
  }
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
