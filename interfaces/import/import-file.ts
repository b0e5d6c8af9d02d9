import { type Reading, readingLimits } from '../../domain/telemetry.ts';
import { type BrokenRow, isBroken, type Row } from './cells.ts';
import type { ColumnOptions, ColumnReport } from './columns.ts';
import { type FileCounts, type ImportCounts, newFileCounts, type RefusedLine } from './counts.ts';
import { type InputFile, ofFile } from './input-file.ts';
import { type InputOptions, inputRowsOf } from './input-rows.ts';
import type { MappingPlan } from './mapping-plan.ts';
import type { NewDevice, ReadingSink } from './reading-sink.ts';
import { type Mapped, type RowMapping, rowMapping } from './row-mapping.ts';
import { scan } from './scan.ts';
import type { Place, SeenValues } from './seen-values.ts';
import type { TimeOptions } from './timestamps.ts';

/** A record of a file with what it gives. */
export type MappedRow = {
  readonly row: Row | BrokenRow;
  readonly mapped: Mapped;
  /** By which it was mapped; `undefined` where there was none. */
  readonly plan: MappingPlan | undefined;
  /** An earlier import found that it contradicts this line. */
  readonly conflictsWith?: RefusedLine['conflictsWith'];
};

/** A file of records, and what they mean. */
export type HistoryFile = {
  readonly name: string;
  readonly columns: readonly ColumnReport[];
  readonly notes: readonly string[];
  /** Chunk by chunk, each to be taken before the next is asked for. */
  rows(signal: AbortSignal): AsyncGenerator<Iterable<MappedRow>, void>;
};

export type HistoryOptions = {
  readonly input: InputOptions;
  readonly columns: ColumnOptions;
  readonly time: TimeOptions;
};

/**
 * Reads the file to its end to find out what its columns hold. Throws `UnusableInput` when it cannot be read, or its
 * columns do not say enough.
 */
export async function openHistory(
  input: InputFile,
  { input: form, columns, time }: HistoryOptions,
  signal: AbortSignal,
): Promise<HistoryFile> {
  const found = await ofFile(input.name, async () =>
    scan(await inputRowsOf(input, form, signal), columns, time),
  );
  signal.throwIfAborted();
  input.rewind();
  const { plan, repeated } = found;
  return {
    name: input.name,
    columns: found.columns,
    notes: found.notes,
    async *rows(signal) {
      const map = rowMapping(plan, repeated);
      const { rows } = await inputRowsOf(input, form, signal);
      for await (const chunk of rows) yield mappedBy(map, chunk);
    },
  };

  function* mappedBy(map: RowMapping, chunk: Iterable<Row | BrokenRow>): Generator<MappedRow> {
    for (const row of chunk)
      yield { row, mapped: isBroken(row) ? { refusal: { reason: row.fault } } : map(row), plan };
  }
}

export type SendingOptions = {
  readonly batch: number;
  /** What to say of devices that are not registered yet; they are refused when absent. */
  readonly register: Registration | undefined;
  /** How many refused lines the report lists. */
  readonly shown: number;
  /** Of two lines that contradict each other, the last counts instead of being refused. */
  readonly overwrite: boolean;
};

type Registration = {
  readonly type: string;
  /** For a device by its id, and what the file calls it. */
  nameOf(deviceId: string, deviceName: string | undefined): string;
};

/** Keeps refused lines with what they held. */
export type Rejects = {
  write(line: RefusedLine, { row, plan }: Pick<MappedRow, 'row' | 'plan'>): Promise<void>;
};

/** One reading and the lines that made it. */
type Pending = { reading: Reading; readonly lines: MappedRow[]; readonly deviceName: string | undefined };

/** Sends the readings of the files of one run, a batch at a time while the next is being read. */
export class Importer {
  readonly #sink: ReadingSink;
  readonly #seen: SeenValues;
  readonly #counts: ImportCounts;
  readonly #rejects: Rejects;
  readonly #options: SendingOptions;
  #batch: Pending[] = [];
  #sending: Promise<void> = Promise.resolve();

  constructor(
    sink: ReadingSink,
    seen: SeenValues,
    counts: ImportCounts,
    rejects: Rejects,
    options: SendingOptions,
  ) {
    this.#sink = sink;
    this.#seen = seen;
    this.#counts = counts;
    this.#rejects = rejects;
    this.#options = options;
  }

  /**
   * Sends one file. Stops between rows when `signal` is aborted; whatever the counts then say is durable or refused.
   * Throws what the sink throws.
   */
  async importFile(history: HistoryFile, signal: AbortSignal): Promise<void> {
    const file = newFileCounts(history.name, history.columns, history.notes);
    this.#counts.files.push(file);
    for await (const rows of history.rows(signal)) {
      for (const row of rows) {
        if (signal.aborted) break;
        const waiting = this.#take(row, file);
        if (waiting) await waiting;
      }
      if (signal.aborted) break;
    }
    if (!signal.aborted) await this.#flush(file);
    await this.#sending;
  }

  /** Whatever has to be waited for, if anything. */
  #take(line: MappedRow, file: FileCounts): Promise<void> | undefined {
    const { mapped } = line;
    if (mapped === 'empty') {
      file.empty += 1;
      return undefined;
    }
    if ('refusal' in mapped) return this.#refuse(line, file, mapped.refusal);
    const conflict = this.#conflictOf(line, mapped.reading, file);
    if (conflict) return this.#refuse(line, file, conflict);
    this.#add({ reading: mapped.reading, lines: [line], deviceName: mapped.deviceName });
    return this.#batch.length >= this.#options.batch ? this.#flush(file) : undefined;
  }

  /** Why a line must not be sent because of one before it. */
  #conflictOf({ row, conflictsWith }: MappedRow, reading: Reading, file: FileCounts): Fault | undefined {
    const { overwrite } = this.#options;
    const found = this.#seen.compare(
      reading,
      { file: this.#counts.files.length - 1, line: row.line },
      overwrite,
    );
    if (found.is === 'repeated') file.repeated += 1;
    if (found.is !== 'conflicting') {
      if (conflictsWith === undefined || overwrite) return undefined;
      file.conflicts += 1;
      return { reason: 'contradicts an earlier line, as it did before', conflictsWith };
    }
    if (overwrite) {
      file.overwriting += 1;
      return undefined;
    }
    file.conflicts += 1;
    return this.#contradiction(found.metric, found.earlier, file);
  }

  #contradiction(metric: string, { file, line }: Place, current: FileCounts): Fault {
    const earlier = this.#counts.files[file]?.file ?? '';
    const where = earlier === current.file ? `line ${line}` : `${earlier}:${line}`;
    return {
      reason: `has another value of ${metric} than ${where} has for the same device and time`,
      conflictsWith: { file: earlier, line },
    };
  }

  /** Lines of one device and time that follow each other are one reading. */
  #add(pending: Pending): void {
    const last = this.#batch.at(-1);
    const both = last && merged(last.reading, pending.reading);
    if (!last || !both) this.#batch.push(pending);
    else {
      last.reading = both;
      last.lines.push(...pending.lines);
    }
  }

  async #flush(file: FileCounts): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    await this.#sending;
    this.#sending = this.#deliver(batch, file);
    // Whoever waits for it next gets it; until then it is not an unhandled one.
    this.#sending.catch(() => {});
  }

  async #deliver(batch: readonly Pending[], file: FileCounts): Promise<void> {
    if (batch.length === 0) return;
    await this.#registerNew(batch);
    const refused = await this.#sink.send(batch.map(({ reading }) => reading));
    const reasons = new Map(refused.map(({ index, reason }) => [index, reason]));
    for (const [index, { lines }] of batch.entries()) {
      const reason = reasons.get(index);
      if (reason !== undefined) for (const line of lines) await this.#refuse(line, file, { reason });
      else {
        file.accepted += lines.length;
        file.readings += 1;
      }
    }
  }

  async #registerNew(batch: readonly Pending[]): Promise<void> {
    const { register } = this.#options;
    const { devices } = this.#counts;
    const unseen = new Map<string, NewDevice>();
    for (const { reading, deviceName } of batch) {
      const { deviceId } = reading;
      if (devices.has(deviceId) || unseen.has(deviceId)) continue;
      const type = register?.type ?? '';
      unseen.set(deviceId, { deviceId, name: register?.nameOf(deviceId, deviceName) ?? '', type });
    }
    if (register && unseen.size > 0)
      this.#counts.registered += await this.#sink.register([...unseen.values()]);
    for (const deviceId of unseen.keys()) devices.add(deviceId);
  }

  async #refuse(line: MappedRow, file: FileCounts, fault: Fault): Promise<void> {
    const refused = { file: file.file, line: line.row.line, ...fault };
    file.refused += 1;
    if (this.#counts.refusals.length < this.#options.shown) this.#counts.refusals.push(refused);
    await this.#rejects.write(refused, line);
  }
}

type Fault = Pick<RefusedLine, 'column' | 'reason' | 'conflictsWith'>;

/** Both as one reading, where that says the same and is not too much for one. */
function merged(first: Reading, second: Reading): Reading | undefined {
  if (first.timestamp !== second.timestamp || first.deviceId !== second.deviceId) return undefined;
  const metrics = { ...first.metrics, ...second.metrics };
  const isContradiction = Object.keys(second.metrics).some((name) => name in first.metrics);
  const isTooMuch = Object.keys(metrics).length > readingLimits.metrics;
  return isContradiction || isTooMuch ? undefined : { ...first, metrics };
}
