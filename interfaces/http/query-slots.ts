import type { ServerResponse } from 'node:http';
import { HttpProblem } from './problems.ts';

const waitMilliseconds = 5_000;

/** Bounds how many queries of telemetry run at once: each holds rows, and a connection or the only thread. */
export class QuerySlots {
  readonly #most: number;
  readonly #waitMs: number;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(most: number, waitMs = waitMilliseconds) {
    this.#most = most;
    this.#waitMs = waitMs;
  }

  /** Takes a slot until the response is closed; throws a 429 problem when none becomes free within a few seconds. */
  async take(res: ServerResponse): Promise<void> {
    if (this.#taken < this.#most) this.#taken += 1;
    else await this.#wait();
    const release = () => {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#taken -= 1;
    };
    if (res.destroyed) release();
    else res.once('close', release);
  }

  /** For a slot that is handed over by who has it. */
  async #wait(): Promise<void> {
    const turn = Promise.withResolvers<void>();
    this.#waiting.push(turn.resolve);
    const expiry = setTimeout(() => {
      this.#waiting.splice(this.#waiting.indexOf(turn.resolve), 1);
      turn.reject(
        new HttpProblem('too-many-queries', `${this.#most} queries of telemetry are running`, {
          members: { limit: this.#most },
          headers: { 'Retry-After': '1' },
        }),
      );
    }, this.#waitMs);
    await turn.promise.finally(() => clearTimeout(expiry));
  }
}
