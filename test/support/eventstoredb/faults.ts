import { setTimeout as delay } from 'node:timers/promises';
import type { StatusObject } from '@grpc/grpc-js';

/** What a server can be made to do wrong, and how long it takes to do right. */
export class Faults {
  /** Takes every call and answers none; nothing is written. */
  silent = false;
  /** Connections on which it is silent, by the client's address. */
  readonly muted = new Set<string>();
  /** Writes what it is given, and never answers. */
  forgetful = false;
  /** What it answers to every append instead of writing. */
  refusal: StatusObject | undefined;
  /** How long a subscription takes for each checkpoint. */
  searchMs = 0;
  /** Events a second that a read of `$all` without a filter yields; a real server's is about 54,000. */
  readsPerSecond = Number.POSITIVE_INFINITY;
  /** Events a second that a subscription looks at; a real server's is about 270,000 where the filter takes few. */
  searchesPerSecond = Number.POSITIVE_INFINITY;
  readonly #delayMs: number;
  #frozen: PromiseWithResolvers<void> | undefined;

  constructor(delayMs = 0) {
    this.#delayMs = delayMs;
  }

  get isFrozen(): boolean {
    return this.#frozen !== undefined;
  }

  /** As SIGSTOP does: calls arrive, and nothing happens to them before `thaw`. */
  freeze(): void {
    this.#frozen ??= Promise.withResolvers();
  }

  /** As SIGCONT does: what arrived meanwhile is done now, whether or not its caller still waits. */
  thaw(): void {
    this.#frozen?.resolve();
    this.#frozen = undefined;
  }

  /** Resolves once the server runs. */
  async running(): Promise<void> {
    while (this.#frozen) await this.#frozen.promise;
  }

  /** Whether a call is never answered. */
  ignores(call: { getPeer(): string }): boolean {
    return this.silent || this.muted.has(call.getPeer());
  }

  /** Takes an append's time; answers whether its answer is to be withheld. */
  async holdsBack(): Promise<boolean> {
    if (this.#delayMs > 0) await delay(this.#delayMs);
    return this.forgetful;
  }
}
