import type { Message } from 'kafkajs';
import type { PartitionPosition, Position } from '../../application/ports/event-source.ts';
import type { TelemetryPublication } from '../../application/ports/telemetry-log.ts';
import { formatPosition } from './kafka-position.ts';
import { type EncodedEvent, encodePublication, type PartitionMessage } from './telemetry-encoding.ts';

export type QueuedPublication = {
  readonly publication: TelemetryPublication;
  readonly events: readonly EncodedEvent[];
  /** Of their JSON. */
  readonly bytes: number;
  /** Epoch milliseconds. */
  readonly since: number;
  readonly resolve: (positions: readonly PartitionPosition[]) => void;
  readonly reject: (error: Error) => void;
};

/** What brokers take as one batch of a partition by default is 1 MiB, and compression may not help. */
const roundBytes = 900_000;
/** kafkajs copies a partition's messages once for each of them. */
const roundMessages = 1000;

type Waiting = QueuedPublication & {
  readonly positions: Map<number, Position>;
  unacknowledged: number;
  settled: boolean;
};
type Piece = PartitionMessage & { readonly of: Waiting };

/** Publications that are sent together, in rounds of what each partition takes at once, and who waits for them. */
export class PublicationBatch {
  /** Of all the events. */
  readonly bytes: number;
  readonly #publications: readonly Waiting[];
  readonly #abandon = new AbortController();
  #pieces: Map<number, Piece[]> | undefined;
  #round = new Map<number, readonly Piece[]>();

  constructor(queued: readonly QueuedPublication[]) {
    this.#publications = queued.map((one) => ({
      ...one,
      positions: new Map(),
      unacknowledged: 0,
      settled: false,
    }));
    this.bytes = queued.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Aborted once nobody waits any longer. */
  get abandoned(): AbortSignal {
    return this.#abandon.signal;
  }

  get settled(): boolean {
    return this.#publications.every(({ settled }) => settled);
  }

  /** When the oldest of those still waiting was queued, in epoch milliseconds. */
  get oldest(): number | undefined {
    return this.#publications.find(({ settled }) => !settled)?.since;
  }

  /** Makes messages of the publications, the first time. */
  divide(partitions: number): void {
    if (this.#pieces) return;
    this.#pieces = new Map();
    for (const of of this.#publications) {
      const messages = encodePublication(of.publication, of.events, partitions);
      of.unacknowledged = messages.length;
      for (const message of messages) {
        const pieces = this.#pieces.get(message.partition);
        if (pieces) pieces.push({ ...message, of });
        else this.#pieces.set(message.partition, [{ ...message, of }]);
      }
    }
  }

  /** The next messages of each partition, in order; the same ones until they are acknowledged. */
  nextRound(): Message[] {
    this.#round = new Map();
    for (const [partition, pieces] of this.#pieces ?? []) {
      if (pieces.length === 0) continue;
      let bytes = 0;
      const full = pieces.findIndex((piece, i) => {
        bytes += piece.bytes;
        return i > 0 && (bytes > roundBytes || i >= roundMessages);
      });
      this.#round.set(partition, full < 0 ? [...pieces] : pieces.slice(0, full));
    }
    return [...this.#round.values()].flatMap((pieces) => pieces.map(({ message }) => message));
  }

  /** Takes the offset of the first message of each partition that was acknowledged; throws when none was. */
  acknowledge(offsets: ReadonlyMap<number, bigint>): void {
    const acknowledged = [...this.#round].filter(([partition]) => offsets.has(partition));
    if (acknowledged.length === 0) throw new Error('no partition was acknowledged');
    for (const [partition, pieces] of acknowledged) {
      const first = offsets.get(partition) as bigint;
      for (const [i, { of }] of pieces.entries()) {
        of.positions.set(
          partition,
          formatPosition({ offset: first + BigInt(i) + 1n, events: 0 }) as Position,
        );
        of.unacknowledged -= 1;
        if (of.unacknowledged === 0) settle(of);
      }
      this.#pieces?.get(partition)?.splice(0, pieces.length);
    }
  }

  /** Tells those that `isLate` picks that they wait in vain. */
  refuse(isLate: (queued: QueuedPublication) => boolean, error: Error): void {
    for (const waiting of this.#publications) {
      if (waiting.settled || !isLate(waiting)) continue;
      waiting.settled = true;
      waiting.reject(error);
    }
    if (this.settled) this.#abandon.abort(error);
  }
}

function settle(waiting: Waiting): void {
  if (waiting.settled) return;
  waiting.settled = true;
  waiting.resolve([...waiting.positions].map(([partition, position]) => ({ partition, position })));
}
