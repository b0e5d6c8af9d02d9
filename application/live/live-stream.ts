import { isWithin } from '../device-bounds.ts';
import { comparePositions } from '../ports/event-source.ts';
import type { DeviceFilter } from '../ports/queries.ts';
import type { DeviceRow } from '../ports/read-models.ts';
import { type BucketSelection, ChangedBuckets } from './changed-buckets.ts';
import { type LiveData, liveJson, type TailedEvent } from './live-events.ts';
import type { LiveLog, LivePosition } from './live-position.ts';
import type { LiveTail } from './live-tail.ts';

/** What a stream sends: every one of these must hold. */
export type LiveSelection = {
  /** Whose events are sent. */
  readonly sources: readonly LiveLog[];
  /** Buckets that change are sent; not together with the readings that change them. */
  readonly buckets?: BucketSelection;
  /** Of all devices when absent. */
  readonly deviceIds?: ReadonlySet<string>;
  readonly devices: DeviceFilter;
  /** Every metric when absent. */
  readonly metrics?: ReadonlySet<string>;
};

type LiveEventName = 'snapshot' | 'reading' | 'retraction' | 'bucket' | 'device' | 'alarm' | 'gap' | 'lag';

/** The client's end of a stream. */
export type LiveSink = {
  /** `id` is where a stream that is cut after this event continues. */
  write(event: LiveEventName, json: string, id: string): void;
  /** Bytes that the client has not taken. */
  pending(): number;
  /** Resolves when the client has taken all of them, or is gone. */
  drained(): Promise<void>;
  /** Aborted when the client is gone or the stream has ended. */
  readonly closed: AbortSignal;
  end(reason: LiveEnd): void;
};

/** `moved`: the log was put back to an earlier copy, or is another. */
export type LiveEnd = 'client' | 'slow' | 'revoked' | 'shutdown' | 'moved' | 'failed';

export type LiveMetrics = {
  opened(): void;
  closed(reason: LiveEnd): void;
  sent(event: LiveEventName): void;
  conflated(): void;
};

type LiveClient = {
  readonly sink: LiveSink;
  readonly metrics: LiveMetrics;
  /** After how long it is cut off when it takes nothing; 30 s when absent. */
  readonly slowMs?: number | undefined;
};

/** Beyond this a client gets the newest of each device and metric until it has taken what waits. */
const queueBytes = 262_144;
const slowMilliseconds = 30_000;
const replayedAtOnce = 500;
/** Devices of which the newest readings wait for a slow client; beyond it the oldest are left out, and counted. */
const conflatedDevices = 10_000;

/** One client's stream: what it missed from the log, then what arrives. */
export class LiveStream {
  readonly #tail: LiveTail;
  readonly #selection: LiveSelection;
  readonly #sink: LiveSink;
  readonly #metrics: LiveMetrics;
  readonly #slowMs: number;
  readonly #hasFilter: boolean;
  /** The logs that are followed. */
  readonly #logs: readonly LiveLog[];
  /** Of a stream of buckets: what it has yet to send. */
  readonly buckets: ChangedBuckets | undefined;
  /** Of what was sent; the tail's own once the stream is live. */
  #position: LivePosition;
  /** Where a stream is that has read the log further than the tail has. */
  #ahead: LivePosition | undefined;
  #conflation: Conflation | undefined;
  /** Whether buckets wait until the client has taken what was written. */
  #isFull = false;

  constructor(
    tail: LiveTail,
    selection: LiveSelection,
    from: LivePosition,
    { sink, metrics, slowMs = slowMilliseconds }: LiveClient,
  ) {
    this.#tail = tail;
    this.#selection = selection;
    this.#position = from;
    this.#sink = sink;
    this.#metrics = metrics;
    this.#slowMs = slowMs;
    this.#hasFilter = Object.keys(selection.devices).length > 0;
    const { buckets, metrics: chosen, sources } = selection;
    this.#logs = buckets ? [...sources, 'telemetry'] : sources;
    if (!buckets) return;
    const begin = {
      sentTo: new Map(from.of('telemetry')),
      finalTo: Math.min(from.finalTo ?? Infinity, Date.now()),
    };
    this.buckets = new ChangedBuckets(buckets, chosen, begin, {
      seen: () => this.#reached.of('telemetry'),
      canTake: () => !this.#isFull && !this.#conflation,
      write: (event, data) => this.#tellBucket(event, data),
      idOf: (sentTo, finalTo) =>
        String((this.#conflation?.since ?? this.#reached).withBuckets(sentTo, finalTo)),
    });
  }

  /** Where the stream would continue. */
  get id(): string {
    return this.#idAt(this.#conflation?.since ?? this.#reached);
  }

  #idAt(position: LivePosition): string {
    const { sentTo, finalTo } = this.buckets ?? {};
    return String(sentTo && finalTo !== undefined ? position.withBuckets(sentTo, finalTo) : position);
  }

  get #reached(): LivePosition {
    return this.#ahead ?? this.#position;
  }

  /** Resolves when the stream is closed. */
  async run(): Promise<void> {
    const { closed } = this.#sink;
    const stop = await this.#join();
    if (!closed.aborted)
      await new Promise((resolve) => closed.addEventListener('abort', resolve, { once: true }));
    stop();
  }

  send(event: LiveEventName, data: object): void {
    this.#write(event, JSON.stringify(data), this.id);
  }

  /** Tells what lies between the stream's position and the tail, and listens from there on, leaving nothing out. */
  async #join(): Promise<() => void> {
    const { deviceIds } = this.#selection;
    const sources = this.#logs;
    let next: number | undefined;
    while (!this.#sink.closed.aborted) {
      next ??= this.#tail.firstAfter(this.#position, sources);
      const kept = next === undefined ? undefined : this.#tail.keptFrom(next, replayedAtOnce);
      if (next === undefined || !kept) {
        next = undefined;
        await this.#tail.replay(this.#position, sources, (event) => this.#replayed(event), this.#sink.closed);
        continue;
      }
      if (kept.length === 0) {
        // Nothing can arrive between this look at the tail and listening to it.
        const { position } = this.#tail;
        if (!sources.every((source) => position.reaches(source, this.#position)))
          this.#ahead = this.#position;
        this.#position = position;
        return this.#tail.listen({
          deviceIds,
          needsDevice: this.#hasFilter,
          onEvent: (event, device) => this.#arrived(event, device),
        });
      }
      for (const event of kept) {
        next += 1;
        if (!isBehind(event, this.#position)) continue;
        await this.#replayed(event);
        this.#position.advance(event.source, event.partition, event.position);
      }
    }
    return () => {};
  }

  async #replayed(event: TailedEvent): Promise<void> {
    const { sources, deviceIds } = this.#selection;
    if (!event.live || !this.#logs.includes(event.source)) return;
    if (deviceIds && !deviceIds.has(event.deviceId)) return;
    if (this.#hasFilter && !this.#matches(await this.#tail.deviceOf(event.deviceId))) return;
    if (!sources.includes(event.source)) {
      this.buckets?.note(event);
      await this.buckets?.room();
      return;
    }
    const text = liveJson(event, this.#selection.metrics);
    if (text === undefined) return;
    const id = this.#position.copy();
    id.advance(event.source, event.partition, event.position);
    this.#write(event.live.event, text, this.#idAt(id));
    if (this.#sink.pending() > queueBytes) await this.#drained();
  }

  #arrived(event: TailedEvent, device: DeviceRow | undefined): void {
    if (!event.live || !this.#logs.includes(event.source)) return;
    if (this.#ahead && !this.#isNew(event, this.#ahead)) return;
    if (this.#hasFilter && !this.#matches(device)) return;
    if (!this.#selection.sources.includes(event.source)) {
      this.buckets?.note(event);
      return;
    }
    const text = liveJson(event, this.#selection.metrics);
    if (text === undefined) return;
    if (this.#conflation) {
      this.#conflation.add(event);
      this.#metrics.conflated();
      return;
    }
    this.#write(event.live.event, text, this.id);
    if (this.#sink.pending() > queueBytes) void this.#conflate();
  }

  /** Whether the stream has not sent it, until the tail has come as far as the stream. */
  #isNew(event: TailedEvent, ahead: LivePosition): boolean {
    if (!isBehind(event, ahead)) return false;
    if (this.#logs.every((source) => this.#position.reaches(source, ahead))) this.#ahead = undefined;
    else ahead.advance(event.source, event.partition, event.position);
    return true;
  }

  async #conflate(): Promise<void> {
    const conflation = new Conflation(this.#reached.copy());
    this.#conflation = conflation;
    await this.#drained();
    this.#conflation = undefined;
    if (this.#sink.closed.aborted || conflation.newest.size === 0) return;
    const [since, id] = [this.#idAt(conflation.since), this.id];
    const gap = { from: since, to: id, reason: 'slow', missed: conflation.missed };
    this.#write('gap', JSON.stringify(gap), since);
    // A cut within these resumes before all of them: some may then come twice, and none is lost.
    let left = conflation.newest.size;
    for (const event of conflation.newest.values()) {
      left -= 1;
      const text = liveJson(event, this.#selection.metrics);
      if (text !== undefined && event.live) this.#write(event.live.event, text, left === 0 ? id : since);
    }
  }

  #tellBucket(event: 'bucket' | 'gap', data: object): void {
    this.send(event, data);
    if (this.#isFull || this.#conflation || this.#sink.pending() <= queueBytes) return;
    this.#isFull = true;
    void this.#drained().finally(() => {
      this.#isFull = false;
    });
  }

  async #drained(): Promise<void> {
    const timer = setTimeout(() => this.#sink.end('slow'), this.#slowMs);
    await this.#sink.drained();
    clearTimeout(timer);
  }

  #write(event: LiveEventName, json: string, id: string): void {
    if (this.#sink.closed.aborted) return;
    this.#sink.write(event, json, id);
    this.#metrics.sent(event);
  }

  #matches(device: DeviceRow | undefined): boolean {
    const { ids, status, type, labels = [], text, within } = this.#selection.devices;
    if (!device) return false;
    const part = text?.toLowerCase();
    return (
      (within === undefined || isWithin(within, device)) &&
      (ids === undefined || ids.includes(device.deviceId)) &&
      (status === undefined || device.status === status) &&
      (type === undefined || device.type === type) &&
      labels.every(({ key, value }) => device.labels[key] === value) &&
      (part === undefined ||
        device.deviceId.toLowerCase().includes(part) ||
        device.name.toLowerCase().includes(part))
    );
  }
}

const isBehind = ({ source, partition, position }: TailedEvent, at: LivePosition): boolean =>
  comparePositions(position, at.at(source, partition)) > 0;

function seriesOf({ event, data }: LiveData): string {
  if (event === 'reading') return Object.keys(data.metrics).join();
  return event === 'alarm' ? data.alarmId : '';
}

/** The newest event of each kind, device or alarm, and set of metrics, and how many others there were. */
class Conflation {
  readonly since: LivePosition;
  readonly newest = new Map<string, TailedEvent>();
  missed = 0;

  constructor(since: LivePosition) {
    this.since = since;
  }

  add(event: TailedEvent): void {
    const { live } = event;
    const key = `${live?.event} ${event.deviceId} ${live && seriesOf(live)}`;
    // Behind the others, so that those that are left out are the oldest.
    if (this.newest.delete(key)) this.missed += 1;
    this.newest.set(key, event);
    const [oldest] = this.newest.keys();
    if (this.newest.size <= conflatedDevices || oldest === undefined) return;
    this.newest.delete(oldest);
    this.missed += 1;
  }
}
