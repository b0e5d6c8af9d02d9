import { bucketOf, type RollupLevel } from '../../domain/rollup.ts';
import { readingLimits } from '../../domain/telemetry.ts';
import { pause } from '../pause.ts';
import type { EventSource, Position, Positioned } from '../ports/event-source.ts';
import type { BucketKey, ProgressQueries, RollupSlice, TelemetryQueries } from '../ports/queries.ts';
import type { Log } from '../ports/system.ts';
import { type BucketLook, type ChangedBuckets, keyOf, type Taken } from './changed-buckets.ts';
import type { LivePosition } from './live-position.ts';
import type { LiveSelection } from './live-stream.ts';

type BucketServices = {
  readonly telemetry: Pick<EventSource<Positioned>, 'partitioner'>;
  readonly telemetryQueries: TelemetryQueries;
  readonly progress: Pick<ProgressQueries, 'progress'>;
  readonly log: Log;
};

/** Milliseconds from one look at the read model to the next; looks take no more than half of the time. */
const lookEvery = 500;

/** Reads the buckets that have changed from the read model, once for all streams of the process. */
export class LiveBuckets {
  readonly #services: BucketServices;
  readonly #tail: { readonly position: LivePosition };
  readonly #stopped: AbortSignal;
  readonly #streams = new Set<ChangedBuckets>();
  #looking = false;
  #isFailing = false;

  constructor(services: BucketServices, tail: { readonly position: LivePosition }, stopped: AbortSignal) {
    this.#services = services;
    this.#tail = tail;
    this.#stopped = stopped;
  }

  /** From now on the stream's buckets are sent, until the function that is returned is called. */
  follow(changed: ChangedBuckets): () => void {
    this.#streams.add(changed);
    if (!this.#looking) void this.#lookOn();
    return () => this.#streams.delete(changed);
  }

  /** Has every bucket of the selection sent that was not sent as final. Throws what the stores throw. */
  async begin(changed: ChangedBuckets, selection: LiveSelection, signal: AbortSignal): Promise<void> {
    const { telemetry, telemetryQueries } = this.#services;
    const partitionOf = await telemetry.partitioner();
    const { deviceIds, devices, metrics } = selection;
    const range = { from: bucketOf(changed.level, changed.finalTo), to: readingLimits.latest + 1 };
    const query = { range, order: 'asc', signal, ...(metrics && { metrics: [...metrics] }) } as const;
    const scopes =
      deviceIds && Object.keys(devices).length === 0
        ? [...deviceIds].map((deviceId) => ({ deviceId }))
        : [{ devices }];
    for (const scope of scopes)
      for await (const slices of telemetryQueries.rollups(changed.level, { scope, ...query })) {
        for (const { deviceId, bucket } of slices)
          if (deviceIds?.has(deviceId) ?? true) changed.add(deviceId, bucket, partitionOf(deviceId));
        await changed.room();
      }
    changed.begun();
  }

  async #lookOn(): Promise<void> {
    this.#looking = true;
    while (this.#streams.size > 0 && !this.#stopped.aborted) {
      const began = Date.now();
      await this.#look();
      await pause(Math.max(lookEvery, Date.now() - began), this.#stopped);
    }
    this.#looking = false;
  }

  async #look(): Promise<void> {
    const taken = new Map<ChangedBuckets, Taken>();
    try {
      const ends = new Map(this.#tail.position.of('telemetry'));
      const look: BucketLook = { ends, now: Date.now(), reached: await this.#reached() };
      for (const changed of this.#streams) if (changed.canTake) taken.set(changed, changed.take(look));
      const slices = await this.#read(taken);
      this.#isFailing = false;
      for (const [changed, one] of taken) changed.send(one, slices[changed.level]);
    } catch (err) {
      for (const [changed, one] of taken) changed.putBack(one);
      if (!this.#isFailing)
        this.#services.log.warn({ err }, 'buckets of live streams could not be read and will be read again');
      this.#isFailing = true;
    }
  }

  async #reached(): Promise<ReadonlyMap<number, Position>> {
    const progress = await this.#services.progress.progress();
    const { reached = [] } = progress.find(({ projection }) => projection === 'telemetry') ?? {};
    return new Map(reached.map(({ partition, position }) => [partition, position]));
  }

  async #read(
    taken: ReadonlyMap<ChangedBuckets, Taken>,
  ): Promise<Readonly<Record<RollupLevel, ReadonlyMap<string, readonly RollupSlice[]>>>> {
    const wanted: Record<RollupLevel, Map<string, BucketKey>> = {
      '1m': new Map(),
      '1h': new Map(),
      '1d': new Map(),
    };
    for (const [{ level }, { buckets }] of taken)
      for (const [key, { deviceId, bucket }] of buckets) wanted[level].set(key, { deviceId, bucket });
    const read = async (level: RollupLevel) => {
      const found = await this.#services.telemetryQueries.rollupsAt(level, [...wanted[level].values()]);
      return Map.groupBy(found, keyOf);
    };
    const [minutes, hours, days] = await Promise.all([read('1m'), read('1h'), read('1d')]);
    return { '1m': minutes, '1h': hours, '1d': days };
  }
}
