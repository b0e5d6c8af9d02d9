export type ProposedEvent = {
  readonly id: string;
  readonly type: string;
  readonly contentType: string;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
};

export type LogPosition = { readonly commit: bigint; readonly prepare: bigint };

export type LoggedEvent = ProposedEvent & {
  readonly stream: string;
  readonly revision: bigint;
  readonly position: LogPosition;
  /** 100-nanosecond ticks since 1970-01-01T00:00:00Z. */
  readonly created: bigint;
};

export type ExpectedVersion = bigint | 'no-stream' | 'stream-exists' | 'any';

export type AppendOutcome =
  /** `position` is that of the last event, and missing when the events were there already. */
  | { readonly revision: bigint; readonly position: LogPosition | undefined }
  | { readonly wrongExpectedVersion: true; readonly current: bigint | undefined };

// Beyond what a JavaScript number holds exactly, so that one `Number()` on the way shows.
const firstPosition = 2n ** 53n + 1n;

/** What the server keeps: one log, and the streams as views of it. In memory, and nowhere else. */
export class EventLog {
  readonly all: LoggedEvent[] = [];
  readonly #streams = new Map<string, LoggedEvent[]>();
  #next = firstPosition;
  #changed = Promise.withResolvers<void>();

  stream(name: string): readonly LoggedEvent[] | undefined {
    return this.#streams.get(name);
  }

  /** The revision before which a stream's metadata has its events not be read any more. */
  truncatedBefore(name: string): bigint {
    const metadata = this.#streams.get(`$$${name}`)?.at(-1);
    const { $tb = 0 } = metadata ? JSON.parse(Buffer.from(metadata.data).toString()) : {};
    return BigInt($tb);
  }

  /** Resolves when something is appended, or `wake` is called. */
  changed(): Promise<void> {
    return this.#changed.promise;
  }

  wake(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers();
    resolve();
  }

  append(name: string, expected: ExpectedVersion, proposed: readonly ProposedEvent[]): AppendOutcome {
    const events = this.#streams.get(name) ?? [];
    const current = BigInt(events.length) - 1n;
    const wrong = { wrongExpectedVersion: true, current: current < 0n ? undefined : current } as const;

    if (expected === 'stream-exists' && current < 0n) return wrong;
    const at = expected === 'no-stream' ? -1n : typeof expected === 'bigint' ? expected : current;
    if (at > current) return wrong;
    if (at < current) {
      // As the server does it: the same ids right behind the expected revision are the same append, made again.
      const same = proposed.every(({ id }, index) => events[Number(at) + 1 + index]?.id === id);
      return same && proposed.length > 0
        ? { revision: at + BigInt(proposed.length), position: undefined }
        : wrong;
    }

    const appended = proposed.map((event, index) => this.#logged(name, at + 1n + BigInt(index), event));
    this.#store(name, appended);
    return { revision: at + BigInt(proposed.length), position: appended.at(-1)?.position };
  }

  /**
   * What the old TCP protocol's transactions leave in a log: events that share a commit position and differ in
   * their prepare position, which comes before it.
   */
  appendTransaction(name: string, proposed: readonly ProposedEvent[]): void {
    const from = BigInt(this.#streams.get(name)?.length ?? 0);
    const prepared = proposed.map((event, index) => this.#logged(name, from + BigInt(index), event));
    const commit = this.#next;
    this.#next += 100n;
    this.#store(
      name,
      prepared.map((event) => ({ ...event, position: { commit, prepare: event.position.prepare } })),
    );
  }

  /** The index in `all` of the first event behind the position. */
  indexAfter({ commit, prepare }: LogPosition): number {
    let low = 0;
    let high = this.all.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { position } = this.all[middle] as LoggedEvent;
      const after = position.commit === commit ? position.prepare > prepare : position.commit > commit;
      if (after) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #logged(stream: string, revision: bigint, event: ProposedEvent): LoggedEvent {
    const position = { commit: this.#next, prepare: this.#next };
    this.#next += BigInt(100 + event.data.length + event.metadata.length);
    return { ...event, stream, revision, position, created: BigInt(Date.now()) * 10_000n };
  }

  #store(name: string, appended: readonly LoggedEvent[]): void {
    const events = this.#streams.get(name) ?? [];
    events.push(...appended);
    if (appended.length > 0) this.#streams.set(name, events);
    this.all.push(...appended);
    this.wake();
  }
}
