import { setTimeout as delay } from 'node:timers/promises';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';

/** What a server can be told to do wrong, and how long it takes to do right. */
export class Faults {
  /** Takes every call and answers none; nothing is written. */
  silent = false;
  /** Connections on which it is silent, by the client's address. */
  readonly muted = new Set<string>();
  /** Writes what it is given, and never says so. */
  forgetful = false;
  /** What it answers to every append instead of writing. */
  refusal: StatusObject | undefined;
  /** How long a subscription takes to search through as many events as it then tells a checkpoint of. */
  searchMs = 0;
  readonly #delayMs: number;

  constructor(delayMs = 0) {
    this.#delayMs = delayMs;
  }

  /** Whether a call is never answered. */
  ignores(call: { getPeer(): string }): boolean {
    return this.silent || this.muted.has(call.getPeer());
  }

  /** Takes an append's time; answers whether its answer is to be kept back. */
  async holdsBack(): Promise<boolean> {
    if (this.#delayMs > 0) await delay(this.#delayMs);
    return this.forgetful;
  }
}

/** As the server tells of missing rights. */
export function accessDenied(): StatusObject {
  const metadata = new Metadata();
  metadata.set('exception', 'access-denied');
  return { code: status.PERMISSION_DENIED, details: 'Access Denied', metadata };
}
