import {
  type BatchConsumer,
  type EventSource,
  exactly,
  type PartitionPosition,
  type Position,
  type RunOptions,
} from '../../../application/ports/event-source.ts';
import {
  recordAt,
  type TelemetryLog,
  type TelemetryPublication,
  type TelemetryRecord,
} from '../../../application/ports/telemetry-log.ts';
import { hashOf, type Random } from '../random.ts';
import { firstWhere, type PartitionContent, readPartition, Waiters } from './partition-reader.ts';
import type { SimulatedProcess } from './process.ts';

type Partition = {
  /** All there ever was. */
  history: TelemetryRecord[];
  /** When each of these came, by the log's clock. */
  cameAt: number[];
  /** How many of these, the oldest, cannot be read any more. */
  expired: number;
  next: number;
  readonly waiters: Waiters;
};

type Member = {
  readonly by: SimulatedProcess;
  readonly consumer: BatchConsumer<TelemetryRecord>;
  readonly keepsOthers: boolean;
  readonly loops: Map<number, { readonly stop: AbortController; readonly ended: Promise<void> }>;
  fail(error: unknown): void;
};

const sessionTimeout = 10_000;

/**
 * Kafka as its users see it: partitions whose offsets have gaps, and groups whose members share them. At each
 * rebalance the member before may still be busy with its last batch.
 */
export class TelemetryLogServer {
  readonly #random: Random;
  readonly #groups = new Map<string, Set<Member>>();
  #partitions: Partition[];
  #identity: string;

  constructor(random: Random, partitions: number) {
    this.#random = random;
    this.#identity = `telemetry-${random.hex(8)}`;
    this.#partitions = Array.from({ length: partitions }, () => ({
      history: [],
      cameAt: [],
      expired: 0,
      next: 0,
      waiters: new Waiters(),
    }));
  }

  get identity(): string {
    return this.#identity;
  }

  /** All that was ever in the log, expired or not. */
  get partitions(): readonly (readonly TelemetryRecord[])[] {
    return this.#partitions.map(({ history }) => history);
  }

  partitionOf = (deviceId: string): number => hashOf(deviceId) % this.#partitions.length;

  /** One message with these events. */
  append(
    partition: number,
    publication: Omit<TelemetryPublication, 'events'>,
    events: readonly unknown[],
  ): Position {
    const log = this.#partitions[partition] as Partition;
    const { id, type, schemaVersion, receivedAt, correlationId, actor, traceparent } = publication;
    const trace = traceparent === undefined ? {} : { traceparent };
    const header = { id, type, schemaVersion, receivedAt, correlationId, actor, ...trace };
    const copied = JSON.parse(JSON.stringify(events)) as unknown[];
    // Ids are counted over all partitions of a publication.
    const first = partition * 1_000_000;
    for (const [i, data] of copied.entries()) {
      log.history.push(recordAt(header, first + i, `${log.next}-${i}`, data));
      log.cameAt.push(Date.now());
    }
    // A marker of a transaction takes an offset of its own.
    log.next += this.#random.chance(0.1) ? 2 : 1;
    log.waiters.wake();
    return (log.history.at(-1) as TelemetryRecord).position;
  }

  publish(publication: TelemetryPublication): readonly PartitionPosition[] {
    const parts = new Map<number, unknown[]>();
    for (const event of publication.events) {
      const partition = this.partitionOf(event.deviceId);
      parts.set(partition, [...(parts.get(partition) ?? []), event]);
    }
    return [...parts].map(([partition, events]) => ({
      partition,
      position: this.append(partition, publication, events),
    }));
  }

  copy(): readonly Partition[] {
    return this.#partitions.map((one) => ({ ...one, history: [...one.history], cameAt: [...one.cameAt] }));
  }

  /** Nothing may be connected. */
  putBack(copy: readonly Partition[], isAnother: boolean): void {
    this.#partitions = copy.map((one) => ({ ...one, history: [...one.history], cameAt: [...one.cameAt] }));
    if (isAnother) this.#identity = `${this.#identity}-again`;
  }

  get hasExpired(): boolean {
    return this.#partitions.some(({ expired }) => expired > 0);
  }

  /** Forgets the oldest events, so much of what each partition has. */
  expire(part: number): void {
    for (const log of this.#partitions) log.expired += Math.floor((log.history.length - log.expired) * part);
  }

  client(by: SimulatedProcess): {
    readonly log: TelemetryLog;
    readonly source: EventSource<TelemetryRecord>;
  } {
    const ask = <T>(asked: string, answer: () => T) => by.call('telemetry log', asked, answer);
    const perPartition = <T>(of: (log: Partition) => T) =>
      new Map(this.#partitions.map((log, partition) => [partition, of(log)] as const));
    return {
      log: { publish: (publication) => ask('publish', () => this.publish(publication)) },
      source: {
        name: 'telemetry',
        run: (consumer, options) => this.#run(by, consumer, options),
        ends: () => ask('ends', () => perPartition(({ history }) => history.at(-1)?.position ?? null)),
        expired: () => ask('expired', () => perPartition(expiredUpTo)),
        positionsBefore: async (time) =>
          perPartition(({ history, cameAt, expired }) => {
            const first = firstWhere(cameAt, expired, (at) => at >= time);
            return history[first - 1]?.position ?? null;
          }),
        partitioner: async () => this.partitionOf,
        identity: () => ask('identity', () => this.#identity),
        eventAt: (partition, position) =>
          ask(`event at ${position}`, () => this.#eventAt(partition, position)),
        countAfter: (partition, position) =>
          ask('count', () =>
            exactly(this.#content(partition).after(position, Number.POSITIVE_INFINITY).events.length),
          ),
      },
    };
  }

  /** The partitions of every group go to other members. */
  rebalance(): void {
    for (const members of this.#groups.values()) this.#assign(members);
  }

  async #run(
    by: SimulatedProcess,
    consumer: BatchConsumer<TelemetryRecord>,
    { group, signal, keepsOthers = false }: RunOptions,
  ): Promise<void> {
    if (signal.aborted) return;
    const members = this.#groups.get(group) ?? new Set();
    this.#groups.set(group, members);
    const over = Promise.withResolvers<void>();
    const member: Member = { by, consumer, keepsOthers, loops: new Map(), fail: over.reject };
    members.add(member);
    const leave = () => {
      if (!members.delete(member)) return;
      for (const { stop } of member.loops.values()) stop.abort();
      this.#assign(members);
    };
    const forget = by.onCrash(() => setTimeout(leave, sessionTimeout));
    signal.addEventListener('abort', () => over.resolve(), { once: true });
    this.#assign(members);
    try {
      await over.promise;
    } finally {
      leave();
      forget();
      await Promise.all([...member.loops.values()].map(({ ended }) => ended));
    }
  }

  #assign(members: ReadonlySet<Member>): void {
    const list = [...members];
    if (list.length === 0) return;
    const first = this.#random.between(0, list.length - 1);
    for (let partition = 0; partition < this.#partitions.length; partition += 1) {
      const owner = list[(partition + first) % list.length] as Member;
      for (const member of list) if (member !== owner) member.loops.get(partition)?.stop.abort();
      const loop = owner.loops.get(partition);
      if (!loop || loop.stop.signal.aborted) this.#start(owner, partition);
    }
  }

  #start(member: Member, partition: number): void {
    const { by, consumer, keepsOthers, loops } = member;
    const before = loops.get(partition)?.ended ?? Promise.resolve();
    const stop = new AbortController();
    const options = { signal: stop.signal, keepsOthers, server: 'telemetry log' } as const;
    const ended = before
      .then(() => readPartition(by, this.#content(partition), consumer, options))
      .catch((error) => member.fail(error));
    loops.set(partition, { stop, ended });
  }

  #content(partition: number): PartitionContent<TelemetryRecord> {
    return {
      partition,
      after: (position, limit) => {
        const { history, expired } = this.#partitions[partition] as Partition;
        const from = firstWhere(history, expired, (event) => isAfter(event.position, position));
        return { after: position, events: history.slice(from, from + limit) };
      },
      waiters: (this.#partitions[partition] as Partition).waiters,
    };
  }

  #eventAt(partition: number, position: Position): { readonly id: string } | 'none' | 'unknown' {
    const log = this.#partitions[partition] as Partition;
    const expired = expiredUpTo(log);
    if (expired !== null && !isAfter(position, expired)) return 'unknown';
    const found = log.history.findLast((event) => event.position === position);
    return found ? { id: found.id } : 'none';
  }
}

const expiredUpTo = ({ history, expired }: Partition): Position | null =>
  history[expired - 1]?.position ?? null;

/** Offset and index, as numbers; the model has its own comparison. */
function isAfter(position: Position, other: Position | null): boolean {
  if (other === null) return true;
  const [offset = 0, index = 0] = position.split('-').map(Number);
  const [otherOffset = 0, otherIndex = 0] = other.split('-').map(Number);
  return offset > otherOffset || (offset === otherOffset && index > otherIndex);
}
