import { pagesById } from '../pages.ts';
import type { DeadLetters, StoredDeadLetter } from '../ports/dead-letters.ts';
import { comparePositions, type Position } from '../ports/event-source.ts';
import { type ExpiredPosition, ReplayRefused } from '../ports/generations.ts';
import type { GenerationId, ReadingRow, ReadModels } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { arrivalOf } from '../projections/telemetry.ts';
import type { ProjectionPipeline, RebuildPorts } from './projection-pipeline.ts';

/** The log no longer reaches back to the first event: what is built from it would hold less than the live tables. */
export class HistoryExpired extends ReplayRefused {
  override readonly name = 'HistoryExpired';
  /** Readings that would be lost, those that wait as dead letters among them. */
  readonly readings: number;
  /** When the first of them arrived, epoch milliseconds. */
  readonly from: number | null;

  constructor(projection: string, readings: number, from: number | null) {
    const since = from === null ? '' : `, the first of which arrived at ${new Date(from).toISOString()}`;
    super(
      `The log no longer has the first events of ${projection}: ${readings} readings${since}, would be lost. ` +
        'To carry them over from the live generation, ask to keep what is older (--keep-older, or "keepOlder": true)',
    );
    this.readings = readings;
    this.from = from;
  }
}

type Only = { readonly deviceId: string; readonly stream: string };

/** What the log has lost of what is to be built. */
type ExpiredHistory = {
  /** Of each partition the last that is lost. */
  readonly last: ReadonlyMap<number, Position | null>;
  /** The one device that all this is about. */
  readonly only: Only | undefined;
  readonly ofDevice: ExpiredPosition;
  readonly has: (letter: StoredDeadLetter) => boolean;
};

/** What the log has lost, of one stream when that is all that is built; `undefined` when it has all. */
export async function expiredHistory(
  pipeline: ProjectionPipeline,
  only?: Only,
): Promise<ExpiredHistory | undefined> {
  const expired: ReadonlyMap<number, Position | null> = await pipeline.expired();
  if ([...expired.values()].every((position) => position === null)) return undefined;
  const partitionOf = await pipeline.partitioner();
  return {
    last: expired,
    only,
    ofDevice: (deviceId) =>
      only && only.deviceId !== deviceId ? null : (expired.get(partitionOf(deviceId)) ?? null),
    has: ({ partition, position, stream }) =>
      (!only || only.stream === stream) && comparePositions(position, expired.get(partition) ?? null) <= 0,
  };
}

export async function assertNoLoss(
  pipeline: ProjectionPipeline,
  live: GenerationId,
  expired: ExpiredHistory,
  { gap, deadLetters }: Pick<RebuildPorts, 'gap' | 'deadLetters'>,
): Promise<void> {
  if (!pipeline.carry) throw new HistoryExpired(pipeline.name, 0, null);
  let { readings, from } = await gap.count(live, expired.ofDevice);
  for await (const some of expiredDeadLetters(live, expired, deadLetters))
    for (const { event } of some) {
      // Of a device that was erased there is nothing left to lose.
      if (event === null) continue;
      const { receivedAt } = arrivalOf(event as TelemetryRecord);
      readings += 1;
      from = from === null ? receivedAt : Math.min(from, receivedAt);
    }
  if (readings > 0) throw new HistoryExpired(pipeline.name, readings, from);
  if (await pipeline.retention?.hasOrphanRollups(live))
    throw new ReplayRefused(
      `The log no longer has the first events of ${pipeline.name}, and points have been removed because they are kept no ` +
        'longer: their rollups and newest values may be lost. To carry them over from the live generation, ask to ' +
        'keep what is older',
    );
}

/**
 * Puts the live generation's readings and dead letters that the log no longer has into a new one, before anything of
 * the log. Which duplicates and corrections there once were, the log alone could say.
 */
export async function copyExpired(
  pipeline: ProjectionPipeline,
  live: GenerationId,
  next: GenerationId,
  expired: ExpiredHistory,
  ports: Pick<RebuildPorts, 'gap' | 'deadLetters' | 'readModels'>,
): Promise<void> {
  for (let copied = expired; ; ) {
    await copyOnce(pipeline, live, next, copied, ports);
    // To copy much takes long, and the log may have lost more meanwhile.
    const now = await expiredHistory(pipeline, copied.only);
    if (!now || [...now.last].every(([partition, last]) => last === (copied.last.get(partition) ?? null)))
      return;
    copied = now;
  }
}

async function copyOnce(
  pipeline: ProjectionPipeline,
  live: GenerationId,
  next: GenerationId,
  expired: ExpiredHistory,
  { gap, deadLetters, readModels }: Pick<RebuildPorts, 'gap' | 'deadLetters' | 'readModels'>,
): Promise<void> {
  const { carry } = pipeline;
  if (!carry) return;
  const partitionOf = await pipeline.partitioner();
  // First: one that is retried meanwhile is a row by the time these are read.
  for await (const page of expiredDeadLetters(live, expired, deadLetters))
    for (const [partition, some] of Map.groupBy(page, (deadLetter) => deadLetter.partition))
      await readModels.transact(next, partition, async (tables, { position }) => {
        if (position !== null) return position;
        const there = await deadLetters.byPosition(
          next,
          partition,
          some.map((deadLetter) => deadLetter.position),
        );
        await carry(
          { rows: [], deadLetters: some.filter((deadLetter) => !there.has(deadLetter.position)) },
          tables,
        );
        return null;
      });
  for await (const rows of gap.readings(live, expired.ofDevice))
    for (const [partition, some] of Map.groupBy(rows, ({ deviceId }) => partitionOf(deviceId)))
      await readModels.transact(next, partition, async (tables, { position }) => {
        // Some may be there from the copy before; once the log is being read, all are.
        if (position !== null) return position;
        const there = new Set((await tables.telemetry.readings(some)).map(keyOf));
        await carry({ rows: some.filter((row) => !there.has(keyOf(row))), deadLetters: [] }, tables);
        return null;
      });
}

/**
 * Counts what the log no longer has as consumed, once the rows of it are copied: where all of a partition has expired,
 * no event would ever move the generation's checkpoint to where the live one stands.
 */
export async function passExpired(
  pipeline: ProjectionPipeline,
  next: GenerationId,
  readModels: ReadModels,
): Promise<void> {
  for (const [partition, expired] of await pipeline.expired())
    if (expired !== null)
      await readModels.transact(next, partition, async (_, { position }) => position ?? expired);
}

/**
 * Whether the log has lost what a generation has yet to consume. What an interrupted build has copied by then does not
 * count: the live rows may have changed since, by events that are lost too.
 */
export async function hasMissed(
  next: GenerationId,
  pipeline: ProjectionPipeline,
  readModels: Pick<ReadModels, 'checkpoint'>,
): Promise<boolean> {
  for (const [partition, expired] of await pipeline.expired()) {
    const position = await readModels.checkpoint(next, partition);
    if (comparePositions(position, expired) < 0) return true;
  }
  return false;
}

const pageSize = 500;

async function* expiredDeadLetters(
  generation: GenerationId,
  expired: ExpiredHistory,
  deadLetters: DeadLetters,
): AsyncGenerator<readonly StoredDeadLetter[]> {
  const pages = pagesById(
    pageSize,
    (page) => deadLetters.ofGeneration(generation, page),
    ({ id }) => id,
  );
  for await (const page of pages) yield page.filter(expired.has);
}

const keyOf = ({ deviceId, timestamp }: Pick<ReadingRow, 'deviceId' | 'timestamp'>): string =>
  `${timestamp} ${deviceId}`;
