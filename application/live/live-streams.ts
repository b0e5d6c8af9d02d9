import { pause } from '../pause.ts';
import {
  comparePositions,
  type EventSource,
  type Position,
  type Positioned,
  type SourceName,
} from '../ports/event-source.ts';
import type { ProgressQueries, TelemetryQueries } from '../ports/queries.ts';
import { lagWithinMilliseconds, type ProgressReader } from '../progress.ts';
import { LiveBuckets } from './live-buckets.ts';
import { type LiveLog, LivePosition, liveLogs } from './live-position.ts';
import {
  type LiveEnd,
  type LiveMetrics,
  type LiveSelection,
  type LiveSink,
  LiveStream,
} from './live-stream.ts';
import { type LiveLogs, LiveTail } from './live-tail.ts';

/** Positions as a client gave them back. */
export type AskedPosition = {
  /** `buckets`: its position is the time up to which buckets were sent as final, in epoch milliseconds. */
  readonly source: LiveLog | 'buckets';
  readonly partition: number;
  /** `null` is before the first event. */
  readonly position: Position | null;
};

export type LiveServices = LiveLogs & {
  readonly telemetryQueries: TelemetryQueries;
  readonly progress: ProgressQueries;
  readonly freshness: ProgressReader;
  readonly metrics: LiveMetrics;
};

type LiveLimits = {
  readonly streams: number;
  readonly perKey: number;
  /** After how long a client is cut off that takes nothing; 30 s when absent. */
  readonly slowMs?: number;
};

/** Too many streams: of one key, or of the process. */
export class TooManyStreams extends Error {
  override readonly name = 'TooManyStreams';
  readonly of: 'key' | 'process';
  readonly limit: number;

  constructor(of: 'key' | 'process', limit: number) {
    super(
      `${of === 'key' ? 'This key has' : 'This server has'} ${limit} live streams, as many as it may have`,
    );
    this.of = of;
    this.limit = limit;
  }
}

/** The log does not have what follows a position: it has expired, or the position is not of this log. */
export class PositionExpired extends Error {
  override readonly name = 'PositionExpired';
}

const lagEvery = 5000;
const snapshotDevices = 500;
/** Streams that end at a shutdown come back spread over so many milliseconds. */
const spread = 5000;

/** The live streams of this process. */
export class LiveStreams {
  readonly #services: LiveServices;
  readonly #limits: LiveLimits;
  readonly #tail: LiveTail;
  readonly #buckets: LiveBuckets;
  readonly #open = new Map<LiveStream, { readonly sink: LiveSink; readonly holder: string }>();
  readonly #stopped = new AbortController();
  #caughtUpAt: Readonly<Record<SourceName, number>> = { telemetry: Date.now(), devices: Date.now() };
  #ticking: Promise<void> | undefined;

  constructor(services: LiveServices, limits: LiveLimits) {
    this.#services = services;
    this.#limits = limits;
    this.#tail = new LiveTail(services, () => {
      for (const { sink } of this.#open.values()) sink.end('moved');
    });
    this.#buckets = new LiveBuckets(services, this.#tail, this.#stopped.signal);
  }

  get size(): number {
    return this.#open.size;
  }

  /** Bytes that clients have not taken. */
  get pending(): number {
    let bytes = 0;
    for (const { sink } of this.#open.values()) bytes += sink.pending();
    return bytes;
  }

  /**
   * Where a stream begins: behind `from`, or without it where the read model is, so that the snapshot and what
   * follows it leave nothing out. Throws `TooManyStreams`, `PositionExpired` and what the logs throw.
   */
  async start(from: readonly AskedPosition[] | undefined, holder: string): Promise<LivePosition> {
    const { streams, perKey } = this.#limits;
    if (this.#open.size >= streams || this.#stopped.signal.aborted)
      throw new TooManyStreams('process', streams);
    if ([...this.#open.values()].filter((one) => one.holder === holder).length >= perKey)
      throw new TooManyStreams('key', perKey);
    for (;;) {
      await this.#tail.started();
      const { epoch } = this.#tail;
      const position = await (from === undefined ? this.#readModelPosition() : this.#resumed(from));
      if (!epoch.aborted) return position;
    }
  }

  /** Resolves when the stream is closed. */
  async run(
    selection: LiveSelection,
    from: LivePosition,
    { snapshot, holder }: { readonly snapshot: boolean; readonly holder: string },
    sink: LiveSink,
  ): Promise<void> {
    const { metrics } = this.#services;
    const stream = new LiveStream(this.#tail, selection, from, {
      sink,
      metrics,
      slowMs: this.#limits.slowMs,
    });
    this.#open.set(stream, { sink, holder });
    metrics.opened();
    this.#ticking ??= this.#tick();
    const unfollow = stream.buckets && this.#buckets.follow(stream.buckets);
    try {
      if (snapshot) await this.#snapshot(stream, selection, sink);
      await this.#tellLag([stream]);
      if (stream.buckets) await this.#buckets.begin(stream.buckets, selection, sink.closed);
      await stream.run();
    } finally {
      unfollow?.();
      this.#open.delete(stream);
    }
  }

  /** To be called once for each stream that ends. */
  readonly closed = (reason: LiveEnd): void => this.#services.metrics.closed(reason);

  /** Ends the streams one after the other, so that their clients do not all come back at one moment. */
  async close(within = spread): Promise<void> {
    this.#stopped.abort();
    const open = [...this.#open.values()];
    const step = Math.min(50, within / Math.max(1, open.length));
    for (const { sink } of open) {
      sink.end('shutdown');
      await new Promise((resolve) => setTimeout(resolve, step));
    }
    await this.#ticking;
    await this.#tail.close();
  }

  async #readModelPosition(): Promise<LivePosition> {
    const at = this.#tail.position.copy();
    const progress = await this.#services.progress.progress();
    const reached = progress.find(({ projection }) => projection === 'telemetry')?.reached ?? [];
    const partitions = [...at.of('telemetry').keys()];
    const telemetry = new Map<number, Position | null>(partitions.map((partition) => [partition, null]));
    for (const { partition, position } of reached) telemetry.set(partition, position);
    return new LivePosition({ telemetry, devices: at.of('devices'), alarms: at.of('alarms') });
  }

  async #resumed(from: readonly AskedPosition[]): Promise<LivePosition> {
    const starts = {
      telemetry: new Map<number, Position | null>(),
      devices: new Map<number, Position | null>(),
      alarms: new Map<number, Position | null>(),
    };
    for (const source of liveLogs) {
      const asked = from.filter((one) => one.source === source);
      const log = this.#services[source];
      const [found, expired, identity] = await Promise.all([log.ends(), log.expired(), log.identity()]);
      const isBeyond = asked.some(
        ({ partition, position }) => comparePositions(position, found.get(partition) ?? null) > 0,
      );
      // The log may have been asked for its ends, by somebody else, before it had this event.
      const ends = isBeyond ? await log.ends() : found;
      for (const [partition, end] of ends) {
        const position = asked.find((one) => one.partition === partition)?.position;
        // A log that is not named begins now; a partition that is not named had nothing yet.
        const start = asked.length === 0 && from.length > 0 ? end : (position ?? null);
        const low = expired.get(partition) ?? null;
        if (comparePositions(start, low) < 0)
          throw new PositionExpired(
            `${source}:${partition}:${start ?? 0} has expired: the log begins behind ${source}:${partition}:${low}`,
          );
        if (comparePositions(start, end) > 0)
          throw new PositionExpired(
            `${source}:${partition}:${start} is not in this log, which ends at ${end ?? 'its start'}`,
          );
        if (identity === null) await assertThere(source, partition, start, log);
        starts[source].set(partition, start);
      }
    }
    const finalTo = from.find(({ source }) => source === 'buckets')?.position;
    return new LivePosition(starts, finalTo ? Number.parseInt(finalTo, 10) : undefined);
  }

  async #snapshot(stream: LiveStream, selection: LiveSelection, sink: LiveSink): Promise<void> {
    const { telemetryQueries } = this.#services;
    const metrics = selection.metrics && [...selection.metrics];
    const chosen = metrics === undefined ? {} : { metrics };
    if (selection.deviceIds && Object.keys(selection.devices).length === 0) {
      const ids = [...selection.deviceIds];
      const found = await Promise.all(
        ids.map((deviceId) => telemetryQueries.latest({ deviceId }, { limit: 1, ...chosen })),
      );
      stream.send('snapshot', { devices: found.flat().map(inSnapshot), last: true });
      return;
    }
    for (let after: string | undefined; !sink.closed.aborted; ) {
      const page = await telemetryQueries.latest(
        { devices: selection.devices },
        { limit: snapshotDevices, ...chosen, ...(after !== undefined && { after }) },
      );
      const last = page.length < snapshotDevices;
      const wanted = page.filter(({ deviceId }) => selection.deviceIds?.has(deviceId) ?? true);
      stream.send('snapshot', { devices: wanted.map(inSnapshot), last });
      if (last) return;
      await sink.drained();
      after = page.at(-1)?.deviceId;
    }
  }

  async #tick(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      await pause(lagEvery, this.#stopped.signal);
      if (this.#open.size > 0) await this.#tellLag([...this.#open.keys()]);
    }
  }

  async #tellLag(streams: readonly LiveStream[]): Promise<void> {
    const { freshness } = this.#services;
    for (const projection of ['telemetry', 'devices'] as const) {
      const status = await freshness.status([projection], lagWithinMilliseconds).catch(() => undefined);
      const events = status?.lag ?? null;
      const now = Date.now();
      if (events === 0) this.#caughtUpAt = { ...this.#caughtUpAt, [projection]: now };
      const seconds = Math.round((now - this.#caughtUpAt[projection]) / 1000);
      for (const stream of streams) stream.send('lag', { projection, events, seconds });
    }
  }
}

/**
 * A log without an identity that was put back to an earlier copy has its events elsewhere once it has grown. Throws
 * `PositionExpired` where none is at the position.
 */
async function assertThere(
  source: LiveLog,
  partition: number,
  position: Position | null,
  log: Pick<EventSource<Positioned>, 'eventAt'>,
): Promise<void> {
  if (position === null || (await log.eventAt(partition, position)) !== 'none') return;
  throw new PositionExpired(
    `${source}:${partition}:${position} is not in this log, which was put back to an earlier copy since: begin without a position`,
  );
}

const inSnapshot = ({
  deviceId,
  points,
}: Awaited<ReturnType<TelemetryQueries['latest']>>[number]): Record<string, unknown> => ({
  deviceId,
  points: points.map(({ timestamp, ...point }) => ({
    timestamp: new Date(timestamp).toISOString(),
    ...point,
  })),
});
