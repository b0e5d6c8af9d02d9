import { type Clock, install } from '@sinonjs/fake-timers';

const realImmediate = setImmediate;

/** Resolves when every promise that can continue has done so. */
const settled = (): Promise<void> => new Promise((resolve) => realImmediate(resolve));

/**
 * Time that passes only when nothing is left to do at this moment. Timers, `Date` and `performance` of the whole process are
 * the world's from `start` to `end`.
 */
export class SimulatedTime {
  readonly #clock: Clock;
  readonly #began: number;
  #leapt = 0;

  constructor(now: number) {
    this.#began = now;
    this.#clock = install({
      now,
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
      loopLimit: 1_000_000,
    });
  }

  /** Milliseconds since the world began, without the leaps. */
  get elapsed(): number {
    return this.#clock.now - this.#began - this.#leapt;
  }

  /** Milliseconds since the world began, by the calendar. */
  get calendar(): number {
    return this.#clock.now - this.#began;
  }

  /** Every clock is set ahead; no timer fires for it. */
  leap(milliseconds: number): void {
    this.#leapt += milliseconds;
    this.#clock.setSystemTime(this.#clock.now + milliseconds);
  }

  /** Lets time pass until `isDone` or for so long; returns whether it is. */
  async pass(milliseconds: number, isDone: () => boolean = () => false): Promise<boolean> {
    const until = this.elapsed + milliseconds;
    let due = false;
    const timer = setTimeout(() => {
      due = true;
    }, milliseconds);
    await settled();
    while (!due && !isDone()) {
      if (this.elapsed > until) break;
      this.#clock.next();
      await settled();
    }
    clearTimeout(timer);
    return isDone();
  }

  end(): void {
    this.#clock.uninstall();
  }
}
