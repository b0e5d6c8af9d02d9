import { AppendTooLarge, EventStoreUnavailable, StreamDeleted } from '../../application/ports/event-store.ts';

/** What a call was made for. `stream` may be `$all`. */
export type CallSubject = {
  readonly doing: 'read' | 'append to' | 'read the metadata of' | 'set the metadata of';
  readonly stream: string;
};

type FailureKind =
  /** Nothing is known of the outcome; the same call may do later. */
  | 'outage'
  /** The node does not lead, and says who does. */
  | 'not-leader'
  /** The user may not do this, or is not let in. */
  | 'rights'
  | 'too-large'
  /** The stream has a tombstone. */
  | 'stream-deleted'
  /** The call was wrong: a fault of ours. */
  | 'fault'
  /** What the server says is not known here. */
  | 'unknown';

type ClientFailure = { readonly code?: unknown; readonly type?: unknown; readonly message: string };

type Row = {
  readonly kind: FailureKind;
  /** The client's name for it, which it takes from a trailer of the answer. */
  readonly type?: string;
  /** gRPC's status: all there is when a first connect fails, as that is gRPC's own error. */
  readonly code?: number;
  readonly message?: RegExp;
};

const grpcUnauthenticated = 16;

/** Everything the client was seen to throw; the first row that matches counts. */
export const failureTable: readonly Row[] = [
  { kind: 'not-leader', type: 'not-leader' },
  { kind: 'stream-deleted', type: 'stream-deleted' },
  { kind: 'too-large', type: 'maximum-append-size-exceeded' },
  // Without a code from a batch append; a wrong password comes as this, too.
  { kind: 'rights', type: 'access-denied' },
  { kind: 'rights', code: 7 },
  { kind: 'rights', code: grpcUnauthenticated },
  // A message larger than its receiver takes.
  { kind: 'too-large', code: 8 },
  // Cancelled, unknown, deadline exceeded, aborted, internal, unavailable.
  { kind: 'outage', code: 1 },
  { kind: 'outage', code: 2 },
  { kind: 'outage', code: 4 },
  { kind: 'outage', code: 10 },
  { kind: 'outage', code: 13 },
  { kind: 'outage', code: 14 },
  // From a batch append, which gives no code.
  { kind: 'outage', message: /Server Is (Not Ready|Busy)/ },
  // Plain errors of the client: no cluster was found, or it closed the channel to reconnect.
  { kind: 'outage', message: /^Failed to discover/ },
  { kind: 'outage', message: /^Channel has been shut down/ },
  // Invalid argument, unimplemented.
  { kind: 'fault', code: 3 },
  { kind: 'fault', code: 12 },
];

export function kindOf(error: unknown): FailureKind {
  if (!(error instanceof Error)) return 'fault';
  const { code, type, message }: ClientFailure = error;
  const row = failureTable.find(
    (one) =>
      (one.type === undefined || one.type === type) &&
      (one.code === undefined || one.code === code) &&
      (one.message === undefined || one.message.test(message)),
  );
  if (row) return row.kind;
  return typeof type === 'string' || typeof code === 'number' ? 'unknown' : 'fault';
}

/** Whether it never came to a call: the client has no cluster, or a channel that is closed, and may keep it so. */
export const isOfTheClient = (error: unknown): boolean =>
  kindOf(error) === 'outage' && (error as ClientFailure).code === undefined;

const severalStreams = 3;
const atOnceMs = 10_000;
const largestMessage = 16 * 1024 * 1024;

/** Turns what the client throws into what the ports promise. */
export class Failures {
  /** Whom the connection string names, as an operator calls him; nothing when it names nobody. */
  readonly user: string | undefined;
  /** By what the server said, the streams that it said it of lately, and when. */
  readonly #unknown = new Map<string, Map<string, number>>();

  /** `url` is the connection string. */
  constructor(url: string) {
    const [, user] = /^[^:]+:\/\/([^:@/]+):[^@]+@/.exec(url) ?? [];
    if (user) this.user = `user "${decodeURIComponent(user)}"`;
    else this.user = /[?&]userCertFile=/i.test(url) ? 'the user of userCertFile' : undefined;
  }

  /** The error to throw instead, which has this one as its cause; an error that is not the client's is left as it is. */
  translated(error: unknown, subject: CallSubject): unknown {
    const kind = kindOf(error);
    const cause = error as ClientFailure;
    switch (kind) {
      case 'outage':
      case 'not-leader':
        return new EventStoreUnavailable(`The event store does not answer: ${cause.message}`, { cause });
      case 'rights': {
        const reason = this.#missingRight(cause, subject);
        return new EventStoreUnavailable(`The event store refuses: ${reason}`, { cause, reason });
      }
      case 'too-large': {
        const { maxAppendSize = largestMessage } = cause as { maxAppendSize?: number };
        return new AppendTooLarge(maxAppendSize, { cause });
      }
      case 'stream-deleted':
        return new StreamDeleted(subject.stream, { cause });
      case 'unknown':
        return this.#unknownFailure(cause, subject);
      case 'fault':
        return error;
    }
  }

  #missingRight({ code }: ClientFailure, { doing, stream }: CallSubject): string {
    if (this.user === undefined) return `nobody may ${doing} ${stream} without a user`;
    return code === grpcUnauthenticated
      ? 'its user is not known with this password'
      : `its user may not ${doing} ${stream}`;
  }

  /** Of one stream it may be the stream; of several at once it is the server. */
  #unknownFailure(cause: ClientFailure, { doing, stream }: CallSubject): Error {
    const said = `code ${cause.code ?? 'none'}, ${cause.type ?? 'no type'}`;
    const message = `The event store answered what is not known here (${said}) when asked to ${doing} ${stream}: ${cause.message}`;
    const now = performance.now();
    const streams = this.#unknown.get(said) ?? new Map<string, number>();
    this.#unknown.set(said, streams);
    streams.set(stream, now);
    for (const [seen, at] of streams) if (now - at > atOnceMs) streams.delete(seen);
    return streams.size >= severalStreams
      ? new EventStoreUnavailable(message, { cause })
      : new Error(message, { cause });
  }
}
