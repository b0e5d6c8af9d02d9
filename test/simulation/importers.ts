import type { Metrics, Reading } from '../../domain/telemetry.ts';
import { sessionSink } from '../../interfaces/cli/import/sinks.ts';
import { type Session, sessionOf } from '../../interfaces/composition/application.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { type ImportCounts, newCounts, totals } from '../../interfaces/import/counts.ts';
import { type HistoryFile, Importer, type MappedRow } from '../../interfaces/import/import-file.ts';
import { SeenValues } from '../../interfaces/import/seen-values.ts';
import { collected } from '../support/collected.ts';
import { check } from './book-keeper.ts';
import type { Random } from './random.ts';
import type { Command } from './world/fieldlog.ts';
import type { World } from './world.ts';

/** A file by the readings of its lines, some of which repeat or contradict others. */
type File = { readonly name: string; readonly lines: readonly Reading[] };

/** Who brings in the history of devices: a command that stores it, and projects until it can be queried. */
export class Importers {
  readonly #world: World;
  readonly #random: Random;
  readonly #files: File[] = [];
  inFlight = 0;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  isDue(): boolean {
    return this.#world.options.hasImports && this.#random.chance(0.004);
  }

  async act(): Promise<void> {
    const isRepeated = this.#files.length > 0 && this.#random.chance(0.4);
    const file = isRepeated ? this.#random.pick(this.#files) : this.#newFile();
    this.#world.timeline.count(`operation: import${isRepeated ? ' again' : ''}`);
    const batch = this.#random.pick([5, 20, 100]);
    this.inFlight += 1;
    try {
      await this.#world.operators.runCommand('import', async (command, signal) =>
        this.#import(command, file, batch, signal),
      );
    } finally {
      this.inFlight -= 1;
    }
  }

  async #import(command: Command, file: File, batch: number, signal: AbortSignal): Promise<string> {
    const session = await sessionOf(command.container);
    let correlationId = '';
    const ids = {
      ...session.ids,
      uuidV7: () => {
        correlationId = session.ids.uuidV7();
        return correlationId;
      },
    };
    const sink = sessionSink({ ...session, ids }, 'the simulated stores');
    const seen = new SeenValues();
    const counts = newCounts();
    const rejects = { write: async () => {} };
    const options = {
      batch,
      register: { type: 'sensor', nameOf: (deviceId: string) => deviceId },
      shown: 0,
      overwrite: false,
    };
    const importer = new Importer(sink, seen, counts, rejects, options);
    try {
      await importer.importFile(historyOf(file), signal);
      signal.throwIfAborted();
    } catch (error) {
      // Whatever it has counted by then is durable.
      this.#checkStored(correlationId, counts, 'at least');
      throw error;
    } finally {
      seen.close();
    }
    this.#checkStored(correlationId, counts, 'exactly');
    const { lines, accepted, refused, readings } = totals(counts.files);
    check(
      lines === file.lines.length && accepted + refused === lines,
      () =>
        `${file.name} has ${file.lines.length} lines, of which ${accepted} + ${refused} are accounted for`,
    );
    await sink.settle();
    await this.#readBack(command, session, correlationId);
    return `${file.name}: ${readings} readings, ${refused} lines refused, ${counts.registered} registered`;
  }

  #checkStored(correlationId: string, counts: ImportCounts, how: 'exactly' | 'at least'): void {
    const { readings } = totals(counts.files);
    const stored = this.#world.telemetry.ofRequest(correlationId).length;
    check(
      how === 'exactly' ? stored === readings : stored >= readings,
      () => `an import says that ${readings} readings are stored, the log has ${stored}`,
    );
    const registered = this.#world.devices.registeredBy(correlationId);
    check(
      counts.registered <= registered,
      () => `an import says that ${counts.registered} devices are registered, the log has ${registered}`,
    );
  }

  /** All of it can be queried once the command has ended, but what others have said since. */
  async #readBack(
    { container }: Command,
    { telemetry: queries }: Session,
    correlationId: string,
  ): Promise<void> {
    const { telemetry, options, operators } = this.#world;
    const deadLetters = await container.getAsync(s.deadLetters);
    if ((await deadLetters.list({ projection: 'telemetry' }, { limit: 1 })).length > 0) return;
    for (const { data } of telemetry.ofRequest(correlationId)) {
      const { deviceId, timestamp, metrics } = data as Reading;
      const isUnsure = () =>
        options.retentionDays !== null ||
        this.#world.isSwitching ||
        operators.discarded.has(`device-${deviceId}`) ||
        this.#world.isTouched(deviceId, timestamp);
      if (isUnsure()) continue;
      const range = { from: timestamp, to: timestamp + 1 };
      const query = { scope: { deviceId }, range, order: 'asc', limit: Number.POSITIVE_INFINITY } as const;
      const points = await collected(queries.points(query));
      for (const [name, value] of Object.entries(metrics))
        check(
          points.some((point) => point.metric === name && point.value === value) || isUnsure(),
          () => `${name} of ${deviceId} at ${timestamp} cannot be read after its import`,
        );
    }
  }

  #newFile(): File {
    const random = this.#random;
    const devices = Array.from(
      { length: random.between(1, 3) },
      () => `d${random.between(1, this.#world.options.devices)}`,
    );
    const step = random.pick([1000, 60_000, 3_600_000]);
    const length = random.between(5, 60);
    const end = Math.floor(Date.now() / step) * step - random.between(0, 20) * step;
    const lines: Reading[] = [];
    for (let i = length; i > 0; i -= 1)
      for (const deviceId of devices) {
        const timestamp = end - i * step;
        lines.push({ deviceId, timestamp, metrics: this.#metrics() });
        if (random.chance(0.05)) lines.push({ deviceId, timestamp, metrics: this.#metrics() });
        if (random.chance(0.05)) lines.push(random.pick(lines));
      }
    const file = { name: `history-${this.#files.length + 1}`, lines };
    this.#files.push(file);
    return file;
  }

  #metrics(): Metrics {
    const random = this.#random;
    const value = random.pick([random.between(-80, 80) / 8, random.between(0, 3), true, 'on']);
    return random.chance(0.5) ? { t: value } : { t: value, h: random.between(0, 9) };
  }
}

const historyOf = ({ name, lines }: File): HistoryFile => ({
  name,
  columns: [],
  notes: [],
  async *rows() {
    yield lines.map(
      (reading, i): MappedRow => ({
        row: { line: i + 1, values: {} },
        mapped: { reading },
        plan: undefined,
      }),
    );
  },
});
