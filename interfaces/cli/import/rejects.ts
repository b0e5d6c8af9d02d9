import { once } from 'node:events';
import { createWriteStream, type Stats, type WriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { UsageError } from '../exit-codes.ts';
import { isBroken, withBigIntegers } from './cells.ts';
import type { RefusedLine } from './counts.ts';
import { decoded } from './decoding.ts';
import type { HistoryFile, MappedRow, Rejects } from './import-file.ts';
import { type InputFile, identityOf } from './input-file.ts';
import { ndjsonRows } from './json-rows.ts';
import { type MappingPlan, mappingPlan } from './mapping-plan.ts';
import { isObject, type RowMapping, rowMapping } from './row-mapping.ts';

export const noRejects = { write: async () => {}, close: async () => {} };

/**
 * Keeps refused lines as NDJSON: each with what it held, under the plan by which it was read, so that `fromRejects`
 * needs nothing else.
 */
export class RejectsFile implements Rejects {
  readonly #path: string;
  readonly #stream: WriteStream;
  readonly #ended: Promise<void>;
  readonly #isNew: boolean;
  #plan: MappingPlan | undefined;
  #isEmpty = true;

  private constructor(path: string, stream: WriteStream, isNew: boolean) {
    this.#path = path;
    this.#stream = stream;
    this.#isNew = isNew;
    this.#ended = finished(stream);
    this.#ended.catch(() => {});
  }

  /** Overwrites what is there: `checkRejects` comes first. Throws `UsageError` when the file cannot be made. */
  static async open(path: string): Promise<RejectsFile> {
    const isNew = (await found(path)) === undefined;
    const stream = createWriteStream(path, { flags: isNew ? 'wx' : 'w' });
    await once(stream, 'open').catch((error) => {
      throw unwritable(path, error);
    });
    return new RejectsFile(path, stream, isNew);
  }

  async write(line: RefusedLine, { row, plan }: Pick<MappedRow, 'row' | 'plan'>): Promise<void> {
    this.#isEmpty = false;
    if (plan !== this.#plan) await this.#add({ plan });
    this.#plan = plan;
    await this.#add({ ...line, ...(isBroken(row) ? { cells: row.cells } : { record: row.values }) });
  }

  async #add(value: unknown): Promise<void> {
    if (!this.#stream.write(`${JSON.stringify(value, withBigIntegers)}\n`))
      await Promise.race([once(this.#stream, 'drain'), this.#ended]).catch((error) => {
        throw unwritable(this.#path, error);
      });
  }

  /** A file that would be empty is taken away again. */
  async close(): Promise<void> {
    this.#stream.end();
    await this.#ended.catch((error) => {
      throw unwritable(this.#path, error);
    });
    if (this.#isNew && this.#isEmpty) await rm(this.#path);
  }
}

const found = (path: string): Promise<Stats | undefined> => stat(path).catch(() => undefined);

/** Throws `UsageError` for a file that is there already, unless with `force`, and always for one of `inputs`. */
export async function checkRejects(
  path: string,
  inputs: readonly InputFile[],
  force: boolean | undefined,
): Promise<void> {
  const there = await found(path);
  if (!there) return;
  if (inputs.some(({ identity }) => identity === identityOf(there)))
    throw new UsageError(`${path} is a file that is imported: name another for --rejects`);
  if (there.isFile() && !force)
    throw new UsageError(`${path} is there already: --force overwrites it, or name another for --rejects`);
}

const unwritable = (path: string, { code, message }: NodeJS.ErrnoException): UsageError =>
  new UsageError(`${path} cannot be written: ${code === 'ENOSPC' ? 'the disk is full' : (code ?? message)}`);

/** The lines of a rejects file, each read as it was before or with what was changed in its record. */
export function fromRejects(input: InputFile): HistoryFile {
  return {
    name: input.name,
    columns: [],
    notes: ['lines that an earlier import refused'],
    async *rows(signal) {
      const { text } = await decoded(input.chunks(signal), undefined);
      let plan: MappingPlan | undefined;
      let map: RowMapping | undefined;
      for await (const chunk of ndjsonRows(text)) yield mapped(chunk);

      function* mapped(rows: Iterable<MappedRow['row']>): Generator<MappedRow> {
        for (const row of rows) {
          if (!isBroken(row) && isObject(row.values.plan)) {
            plan = planIn(row.values.plan, row.line, input.name);
            map = rowMapping(plan);
          } else yield ofReject(row, plan, map);
        }
      }
    },
  };
}

function planIn(value: unknown, line: number, name: string): MappingPlan {
  const { success, data } = mappingPlan.safeParse(value);
  if (success) return data;
  throw new UsageError(`${name}: line ${line} has a plan that this release does not know`);
}

function ofReject(
  row: MappedRow['row'],
  plan: MappingPlan | undefined,
  map: RowMapping | undefined,
): MappedRow {
  const refused = (reason: string): MappedRow => ({ row, mapped: { refusal: { reason } }, plan });
  if (isBroken(row)) return refused(row.fault);
  const { line, values } = row;
  const { record, conflictsWith } = values;
  if (!isObject(record)) return refused('has no record: give it one, with the columns of the others');
  if (!map) return refused('comes before any plan: rejects files begin with one');
  const mapped = map({ line, values: record });
  const conflict = conflictsWith as RefusedLine['conflictsWith'];
  return { row: { line, values: record }, mapped, plan, ...(conflict && { conflictsWith: conflict }) };
}
