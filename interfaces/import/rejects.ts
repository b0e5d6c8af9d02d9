import { isBroken, withBigIntegers } from './cells.ts';
import type { RefusedLine } from './counts.ts';
import { decoded } from './decoding.ts';
import type { HistoryFile, MappedRow } from './import-file.ts';
import type { InputFile } from './input-file.ts';
import { ndjsonRows } from './json-rows.ts';
import { type MappingPlan, mappingPlan } from './mapping-plan.ts';
import { isObject, type RowMapping, rowMapping } from './row-mapping.ts';
import { UnusableInput } from './unusable-input.ts';

/**
 * Writes refused lines as NDJSON: each with what it held, under the plan by which it was read, so that `fromRejects`
 * needs nothing else.
 */
export class RejectLines {
  #plan: MappingPlan | undefined;

  /** The line, after the plan where it is another than that of the line before. */
  of(line: RefusedLine, { row, plan }: Pick<MappedRow, 'row' | 'plan'>): string {
    const values = [
      ...(plan === this.#plan ? [] : [{ plan }]),
      { ...line, ...(isBroken(row) ? { cells: row.cells } : { record: row.values }) },
    ];
    this.#plan = plan;
    return values.map((value) => `${JSON.stringify(value, withBigIntegers)}\n`).join('');
  }
}

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
  throw new UnusableInput(`${name}: line ${line} has a plan that this release does not know`);
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
