import {
  type BrokenRow,
  ColumnCells,
  type Decimal,
  type InputRows,
  isBroken,
  NullCells,
  type Row,
  shown,
} from './cells.ts';
import {
  type ColumnOptions,
  type ColumnReport,
  influxFraming,
  isExportOfPoints,
  isInfluxTable,
  rolesOf,
  type Structure,
  structureOf,
} from './columns.ts';
import { deviceReader } from './devices.ts';
import { EpochNumbers, epochNote } from './epochs.ts';
import { isFixed, momentsIn, RepeatedHours } from './local-time.ts';
import type { MappingPlan } from './mapping-plan.ts';
import { flattened, isObject, metricCell, seriesOf, timeCell } from './row-mapping.ts';
import { type ClockReader, clockReader, type TimeOptions } from './timestamps.ts';
import { UnusableInput } from './unusable-input.ts';

/** What was found out by reading a file to its end, before anything of it is imported. */
type Scan = {
  readonly plan: MappingPlan;
  readonly repeated: RepeatedHours | undefined;
  readonly columns: readonly ColumnReport[];
  readonly notes: readonly string[];
};

/** InputRows by which it is decided which column is the device and which the time. */
const sampleSize = 1000;
const mostColumns = 10_000;

/** Reads all rows. Throws `UnusableInput` when the columns of the file do not say enough. */
export async function scan(rows: InputRows, options: ColumnOptions, time: TimeOptions): Promise<Scan> {
  const sample: (Row | BrokenRow)[] = [];
  let scanner: Scanner | undefined;
  for await (const chunk of rows.rows) {
    for (const row of chunk) {
      if (scanner) scanner.add(row);
      else sample.push(row);
      if (sample.length >= sampleSize) scanner ??= new Scanner(rows, sample.splice(0), options, time);
    }
  }
  scanner ??= new Scanner(rows, sample, options, time);
  return scanner.result();
}

class Scanner {
  readonly #options: ColumnOptions;
  readonly #time: TimeOptions;
  readonly #rows: InputRows;
  readonly #form: MappingPlan['form'];
  readonly #structure: Structure;
  readonly #device: MappingPlan['device'];
  readonly #nulls: NullCells;
  /** Columns that are no metric, what they are, and how many of their cells hold something. */
  readonly #framing: Map<string, { readonly is: ColumnReport['is']; cells: number }>;
  readonly #cells = new Map<string, ColumnCells>();
  /** By metric of the long form. */
  readonly #metrics = new Map<string, ColumnCells>();
  readonly #units = new Map<string, string>();
  readonly #epochs = new EpochNumbers();
  readonly #clocks: LocalClocks | undefined;

  constructor(
    rows: InputRows,
    sample: readonly (Row | BrokenRow)[],
    options: ColumnOptions,
    time: TimeOptions,
  ) {
    this.#rows = rows;
    this.#options = options;
    this.#time = time;
    this.#nulls = new NullCells(options.nulls);
    const good = sample.filter((row): row is Row => !isBroken(row));
    const values = good.map((row) => (options.flatten ? flattened(row.values) : row.values));
    const names = rows.header ?? [...new Set(values.flatMap(Object.keys))];
    const isOwnForm = !isAnyColumnNamed(options);
    if (isOwnForm && good.some((row) => isObject(row.values.metrics))) {
      this.#form = 'readings';
      const device = options.device === undefined ? { columns: ['deviceId'] } : { id: options.device };
      this.#structure = { device, time: ['timestamp'], long: undefined };
    } else if (names.length === 0) {
      const [first] = sample;
      if (first && isBroken(first))
        throw new UnusableInput(`no record can be read: line ${first.line} ${first.fault}`);
      this.#form = 'columns';
      this.#structure = { device: { columns: ['device'] }, time: ['time'], long: undefined };
    } else {
      this.#form = isOwnForm && isExportOfPoints(names) ? 'points' : 'columns';
      this.#structure = withHint(sample, rows.header, () => structureOf(names, options));
    }
    const { device } = this.#structure;
    this.#device =
      'id' in device
        ? device
        : { columns: device.columns, prefix: options.devicePrefix, slug: options.deviceSlug };
    this.#framing = new Map(framingOf(this.#structure, names).map(([name, is]) => [name, { is, cells: 0 }]));
    for (const name of rows.header ?? []) if (!this.#framing.has(name)) this.#cellsOf(this.#cells, name);
    this.#clocks = LocalClocks.of(time, this.#plan([], '.'));
    for (const row of sample) this.add(row);
  }

  add(row: Row | BrokenRow): void {
    if (isBroken(row)) return;
    const values = this.#options.flatten && this.#form !== 'readings' ? flattened(row.values) : row.values;
    const time = timeCell(values, this.#structure.time);
    this.#epochs.add(time, row.line);
    this.#clocks?.add(time, values);
    if (this.#form === 'readings') return;
    for (const name in values) {
      const framing = this.#framing.get(name);
      if (!framing) this.#cellsOf(this.#cells, name).add(values[name], this.#nulls);
      else if (!isBlank(values[name])) framing.cells += 1;
    }
    if (this.#structure.long) this.#addMetric(values, this.#structure.long);
  }

  #addMetric(values: Row['values'], { metric, value, unit }: NonNullable<Structure['long']>): void {
    const cell = values[metric];
    if (cell === null || cell === undefined || String(cell).trim() === '') return;
    const name = metricCell(cell);
    this.#cellsOf(this.#metrics, name).add(values[value], this.#nulls);
    if (unit !== undefined && !this.#units.has(name))
      this.#units.set(name, String(values[unit] ?? '').trim());
  }

  #cellsOf(columns: Map<string, ColumnCells>, name: string): ColumnCells {
    const known = columns.get(name);
    if (known) return known;
    if (columns.size >= mostColumns) throw new UnusableInput(`there are more than ${mostColumns} columns`);
    const cells = new ColumnCells();
    columns.set(name, cells);
    return cells;
  }

  result(): Scan {
    const epoch = this.#time.format === 'auto' ? this.#epochs.unit(this.#timeName) : undefined;
    const repeated = this.#clocks?.finished();
    const notes = [...this.#rows.notes];
    const isUsual = epoch === 'ms' && this.#form === 'readings';
    if (epoch !== undefined && !isUsual) notes.push(epochNote(this.#timeName, epoch));
    if (this.#form !== 'columns') {
      notes.push(
        this.#form === 'points'
          ? "points as Fieldlog's API gives them"
          : "readings as Fieldlog's API takes them",
      );
      return { plan: this.#plan([], '.', epoch), repeated, columns: [], notes };
    }
    const decimal = this.#decimal();
    if (decimal === ',' && this.#options.decimal === undefined) notes.push('numbers have a decimal comma');
    const isLong = this.#structure.long !== undefined;
    const { roles, columns } = rolesOf(
      isLong ? this.#metrics : this.#cells,
      isLong ? this.#cells : new Map(),
      decimal,
      this.#options,
    );
    const framing = [...this.#framing].map(([column, seen]): ColumnReport => ({ column, ...seen, nulls: 0 }));
    return { plan: this.#plan(roles, decimal, epoch), repeated, columns: [...framing, ...columns], notes };
  }

  get #timeName(): string {
    return this.#structure.time.join(', ');
  }

  /** A comma is the decimal point where it must be one in some cells, and a point is none in any. */
  #decimal(): Decimal {
    if (this.#options.decimal !== undefined) return this.#options.decimal;
    if (!this.#rows.commaIsFree) return '.';
    const all = [...this.#cells.values(), ...this.#metrics.values()];
    const isComma = all.some(({ withCertainComma }) => withCertainComma > 0);
    return isComma && all.every(({ withPoint }) => withPoint === 0) ? ',' : '.';
  }

  #plan(roles: MappingPlan['metrics'], decimal: Decimal, epoch?: TimeOptions['epoch']): MappingPlan {
    const { time, long } = this.#structure;
    return {
      form: this.#form,
      device: this.#device,
      time: { columns: time, format: this.#time.format, zone: this.#time.zone, ...(epoch && { epoch }) },
      ...(long && this.#form === 'columns' && { long }),
      metrics: roles.map((role) => {
        const unit = this.#units.get(role.column);
        return { ...role, ...(unit !== undefined && { unit }) };
      }),
      decimal,
      nulls: this.#options.nulls,
      flatten: this.#options.flatten,
    };
  }
}

/** The columns that say where the values belong. */
function framingOf(
  { device, time, long }: Structure,
  names: readonly string[],
): readonly (readonly [column: string, is: ColumnReport['is']])[] {
  const framing: (readonly [string, ColumnReport['is']])[] = time.map((name) => [name, 'time']);
  if ('columns' in device) for (const name of device.columns) framing.push([name, 'device']);
  if (long) framing.push([long.metric, 'metric name'], [long.value, 'value']);
  if (long?.unit !== undefined) framing.push([long.unit, 'unit']);
  if (isInfluxTable(names))
    for (const name of influxFraming) if (names.includes(name)) framing.push([name, 'ignored']);
  return framing;
}

const isBlank = (value: unknown): boolean =>
  value === null || value === undefined || (typeof value === 'string' && value.trim() === '');

const isAnyColumnNamed = (options: ColumnOptions): boolean =>
  [options.timeColumn, options.timeColumns, options.metricColumn, options.valueColumn].some(
    (name) => name !== undefined,
  ) || [...options.deviceColumns, ...options.metrics, ...options.texts].length > 0;

/** Says what may be wrong with the file itself where its columns make no sense. */
function withHint<Result>(
  sample: readonly (Row | BrokenRow)[],
  header: readonly string[] | undefined,
  read: () => Result,
): Result {
  try {
    return read();
  } catch (error) {
    const hint = header ? hintOfCsv(sample, header) : hintOfJson(sample);
    throw error instanceof UnusableInput && hint !== ''
      ? new UnusableInput(`${error.message}; ${hint}`)
      : error;
  }
}

function hintOfCsv(sample: readonly (Row | BrokenRow)[], [first = '', ...others]: readonly string[]): string {
  if (first.startsWith('#') && !/^#\d+$/.test(first))
    return '--comment "#" leaves out lines that begin with #';
  if (sample.length > 0 && 2 * sample.filter(isBroken).length >= sample.length)
    return 'if the names come later, --skip <lines> leaves out what is before them';
  return others.length === 0 ? 'if something else separates columns, name it with --delimiter' : '';
}

function hintOfJson(sample: readonly (Row | BrokenRow)[]): string {
  const first = sample.find((row): row is Row => !isBroken(row));
  const [name] =
    Object.entries(first?.values ?? {}).find(([, value]) => Array.isArray(value) && isObject(value[0])) ?? [];
  return name === undefined ? '' : `${shown(name)} holds records: --records ${name} imports them`;
}

/** Watches times that come without an offset, in a zone whose clocks go back. */
class LocalClocks {
  readonly #repeated = new RepeatedHours();
  readonly #momentsOf: (clock: number) => readonly number[];
  readonly #read: ClockReader;
  readonly #deviceOf: ReturnType<typeof deviceReader>;
  readonly #seriesOf: ReturnType<typeof seriesOf>;

  private constructor(time: TimeOptions, plan: MappingPlan, momentsOf: (clock: number) => readonly number[]) {
    this.#momentsOf = momentsOf;
    this.#read = clockReader(time.format, undefined);
    this.#deviceOf = deviceReader(plan.device);
    this.#seriesOf = seriesOf(plan);
  }

  static of(time: TimeOptions, plan: MappingPlan): LocalClocks | undefined {
    const momentsOf = momentsIn(time.zone);
    return isFixed(time.zone) ? undefined : new LocalClocks(time, plan, momentsOf);
  }

  add(time: unknown, values: Row['values']): void {
    try {
      const { deviceId } = this.#deviceOf(values, { column: '' });
      const { at, isMoment } = this.#read(time);
      if (isMoment) return;
      const moments = this.#momentsOf(at);
      if (moments.length > 0)
        this.#repeated.observe(this.#seriesOf(deviceId, values), at, moments.length > 1);
    } catch {
      // The line is refused, with its reason, when it is mapped.
    }
  }

  finished(): RepeatedHours {
    this.#repeated.finish();
    return this.#repeated;
  }
}
