import { type Aggregate, aggregateOf, bucketOf, type RollupLevel, rollupWidth } from '../../domain/rollup.ts';
import { comparePositions, furthest, type Position, positionToken } from '../ports/event-source.ts';
import type { BucketKey, RollupSlice } from '../ports/queries.ts';
import type { TailedEvent } from './live-events.ts';
import type { Ends } from './live-position.ts';

export type BucketSelection = {
  readonly level: RollupLevel;
  readonly aggregates: readonly Aggregate[];
};

/** The client's end of a stream of buckets. */
type BucketSink = {
  /** How far the stream has seen the telemetry log. */
  seen(): Ends;
  /** Whether the client takes what it is sent. */
  canTake(): boolean;
  write(event: 'bucket' | 'gap', data: object): void;
  /** Where a stream continues whose buckets were sent up to these positions, and as final up to this time. */
  idOf(sentTo: Ends, finalTo: number): string;
};

/** What the read model had, at one moment. */
export type BucketLook = {
  readonly reached: Ends;
  /** How far the log was known to go before that. */
  readonly ends: Ends;
  /** Epoch milliseconds. */
  readonly now: number;
};

/** Positions of the first event that was not sent, and of the last; `null` is sent in any case. */
type Changed = BucketKey & { readonly partition: number; first: Position | null; last: Position | null };
/** A bucket that was sent while it could still change; final once the read model has come to `waitsFor`. */
type Open = BucketKey & { readonly partition: number; waitsFor?: Position | null };
/** Buckets of which a retraction has left nothing, but for those that have changed since. */
type Emptied = {
  readonly deviceId: string;
  readonly metric: string | null;
  readonly start: number;
  readonly end: number;
  readonly partition: number;
  readonly position: Position;
};

export type Taken = {
  readonly look: BucketLook;
  readonly emptied: readonly Emptied[];
  readonly buckets: ReadonlyMap<string, Changed>;
  readonly through: Ends;
  readonly finalTo: number;
};

/** Buckets that wait to be sent, or to become final, of one stream; beyond it the oldest are left out, and counted. */
const mostBuckets = 20_000;

/** The buckets that one stream has yet to send, however often they change until then. */
export class ChangedBuckets {
  readonly level: RollupLevel;
  readonly #aggregates: readonly Aggregate[];
  readonly #metrics: ReadonlySet<string> | undefined;
  readonly #sink: BucketSink;
  readonly #changed = new Map<string, Changed>();
  readonly #open = new Map<string, Open>();
  #emptied: readonly Emptied[] = [];
  #sentTo: Ends;
  #finalTo: number;
  #missed = 0;
  #hasBegun = false;
  #room = Promise.withResolvers<void>();

  constructor(
    { level, aggregates }: BucketSelection,
    metrics: ReadonlySet<string> | undefined,
    from: { readonly sentTo: Ends; readonly finalTo: number },
    sink: BucketSink,
  ) {
    this.level = level;
    this.#aggregates = aggregates;
    this.#metrics = metrics;
    this.#sentTo = from.sentTo;
    this.#finalTo = from.finalTo;
    this.#sink = sink;
  }

  /** Up to which events buckets were sent. */
  get sentTo(): Ends {
    return this.#sentTo;
  }

  /** All buckets that end after this time are sent when the stream begins. Epoch milliseconds. */
  get finalTo(): number {
    return this.#finalTo;
  }

  get canTake(): boolean {
    return this.#sink.canTake();
  }

  /** Resolves when there is room for more, for those who can wait. */
  async room(): Promise<void> {
    if (this.#changed.size >= mostBuckets / 2) await this.#room.promise;
  }

  note({ live, partition, position }: TailedEvent): void {
    if (live?.event === 'reading') {
      const { deviceId, timestamp, metrics } = live.data;
      if (this.#metrics && !Object.keys(metrics).some((name) => this.#metrics?.has(name))) return;
      this.#change(deviceId, bucketOf(this.level, timestamp), partition, position);
    }
    if (live?.event === 'retraction') {
      const { deviceId, metric = null, from, to } = live.data;
      if (metric !== null && this.#metrics && !this.#metrics.has(metric)) return;
      const [start, last] = [bucketOf(this.level, from), bucketOf(this.level, to - 1)];
      const end = last + rollupWidth[this.level];
      this.#emptied = [...this.#emptied, { deviceId, metric, start, end, partition, position }];
      for (const bucket of new Set([start, last])) this.#change(deviceId, bucket, partition, position);
    }
  }

  /** All that is sent in any case has been added. */
  begun(): void {
    this.#hasBegun = true;
  }

  /** To be sent in any case. */
  add(deviceId: string, bucket: number, partition: number): void {
    this.#change(deviceId, bucket, partition, null);
  }

  /** What can be sent by this look, which is then no longer waiting. */
  take(look: BucketLook): Taken {
    const { reached, now } = look;
    const has = (partition: number, position: Position | null) =>
      comparePositions(reached.get(partition) ?? null, position) >= 0;
    const emptied = this.#emptied.filter(({ partition, position }) => has(partition, position));
    this.#emptied = this.#emptied.filter((one) => !emptied.includes(one));
    const buckets = new Map<string, Changed>();
    for (const [key, one] of this.#changed) {
      if (!has(one.partition, one.first)) continue;
      buckets.set(key, one);
      if (has(one.partition, one.last)) this.#changed.delete(key);
      else this.#changed.set(key, { ...one, first: one.last });
    }
    let finalTo = this.#hasBegun ? now : this.#finalTo;
    for (const [key, one] of this.#open) {
      const end = this.#endOf(one);
      if (end > now) continue;
      if (one.waitsFor === undefined) one.waitsFor = look.ends.get(one.partition) ?? null;
      if (has(one.partition, one.waitsFor)) buckets.set(key, { ...one, first: null, last: null });
      else finalTo = Math.min(finalTo, end - 1);
    }
    const through = new Map(
      [...this.#sink.seen()].map(([partition, seen]) => {
        const least = has(partition, seen) ? seen : (reached.get(partition) ?? null);
        return [partition, furthest(least, this.#sentTo.get(partition) ?? null)];
      }),
    );
    return { look, emptied, buckets, through, finalTo: Math.max(finalTo, this.#finalTo) };
  }

  /** What was taken could not be read. */
  putBack({ emptied, buckets }: Taken): void {
    this.#emptied = [...emptied, ...this.#emptied];
    for (const { deviceId, bucket, partition, first } of buckets.values())
      this.#change(deviceId, bucket, partition, first);
  }

  /** Sends what was taken, as the read model has it: a bucket is sent whole, metric by metric. */
  send(taken: Taken, slices: ReadonlyMap<string, readonly RollupSlice[]>): void {
    const { look, emptied, buckets, through, finalTo } = taken;
    const messages: object[] = emptied.map(({ deviceId, metric, start, end, partition }) => ({
      ...{ deviceId, metric, start: isoTime(start), end: isoTime(end), count: 0 },
      ...{ final: false, position: tokenOf(partition, look.reached) },
    }));
    for (const [key, one] of buckets) {
      const isFinal = this.#isFinal(key, one, look);
      if (isFinal) this.#open.delete(key);
      else this.#setOpen(key, one);
      const position = tokenOf(one.partition, look.reached);
      for (const slice of slices.get(key) ?? [])
        if (this.#metrics?.has(slice.metric) ?? true)
          messages.push({ ...this.#dataOf(slice), final: isFinal, position });
    }
    const [from, to] = [this.#sink.idOf(this.#sentTo, this.#finalTo), this.#sink.idOf(through, finalTo)];
    const missed = this.#missed;
    this.#missed = 0;
    if (missed > 0) this.#sink.write('gap', { from, to, reason: 'slow', missed });
    // A cut within these resumes before all of them: some may then come twice, and none is lost.
    for (const data of messages.slice(0, -1)) this.#sink.write('bucket', data);
    this.#sentTo = through;
    this.#finalTo = finalTo;
    for (const data of messages.slice(-1)) this.#sink.write('bucket', data);
    this.#room.resolve();
    this.#room = Promise.withResolvers();
  }

  #change(deviceId: string, bucket: number, partition: number, position: Position | null): void {
    const key = keyOf({ deviceId, bucket });
    const known = this.#changed.get(key);
    const first = known ? known.first : position;
    this.#changed.set(key, {
      ...{ deviceId, bucket, partition },
      first: comparePositions(first, position) < 0 ? first : position,
      last: furthest(known?.last ?? null, position),
    });
    this.#bound(this.#changed);
  }

  #isFinal(key: string, one: Changed, { reached, ends, now }: BucketLook): boolean {
    if (this.#endOf(one) > now) return false;
    const { partition } = one;
    const waitsFor = this.#open.get(key)?.waitsFor;
    const needed = waitsFor === undefined ? (ends.get(partition) ?? null) : waitsFor;
    return comparePositions(reached.get(partition) ?? null, needed) >= 0;
  }

  #setOpen(key: string, { deviceId, bucket, partition }: Changed): void {
    if (!this.#open.has(key)) this.#open.set(key, { deviceId, bucket, partition });
    this.#bound(this.#open);
  }

  #bound(buckets: Map<string, unknown>): void {
    const [oldest] = buckets.keys();
    if (buckets.size <= mostBuckets || oldest === undefined) return;
    buckets.delete(oldest);
    this.#missed += 1;
  }

  #endOf({ bucket }: BucketKey): number {
    return bucket + rollupWidth[this.level];
  }

  #dataOf({ deviceId, metric, bucket, stats }: RollupSlice): object {
    const span = { start: isoTime(bucket), end: isoTime(bucket + rollupWidth[this.level]) };
    const values = this.#aggregates.map((name) => [name, aggregateOf[name](stats)]);
    return { deviceId, metric, ...span, ...Object.fromEntries(values) };
  }
}

export const keyOf = ({ deviceId, bucket }: BucketKey): string => `${bucket} ${deviceId}`;

/** Of the start of a bucket, as queries write it. */
const isoTime = (epoch: number): string => new Date(epoch).toISOString().replace('.000Z', 'Z');

function tokenOf(partition: number, reached: Ends): string | null {
  const position = reached.get(partition) ?? null;
  return position && positionToken('telemetry', { partition, position });
}
