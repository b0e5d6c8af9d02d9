import { EventStoreUnavailable } from '../../../application/ports/event-store.ts';
import { ReadModelsUnavailable } from '../../../application/ports/read-models.ts';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import type { Random } from '../random.ts';
import type { Timeline } from '../timeline.ts';

export const serverNames = ['event store', 'telemetry log', 'database'] as const;
export type ServerName = (typeof serverNames)[number];

/** How likely each fault is at a call of a server; what is not named does not happen. */
export type NetworkFaults = {
  requestLost: number;
  answerLost: number;
  crash: number;
  /** Milliseconds that a slow message takes. */
  slow: number;
};

export const noNetworkFaults: NetworkFaults = { requestLost: 0, answerLost: 0, crash: 0, slow: 0 };

/** What all processes of a world share. */
export type Network = {
  readonly random: Random;
  readonly timeline: Timeline;
  faults: NetworkFaults;
  /** Servers that do not answer at present. */
  readonly away: Set<ServerName>;
  /** Servers that keep everybody waiting, each until its promise resolves. */
  readonly stalled: Map<ServerName, Promise<void>>;
  /** Calls by which a process could crash without an end to the run. */
  crashesLeft: number;
};

const unavailable: Record<ServerName, (message: string) => Error> = {
  'event store': (message) => new EventStoreUnavailable(message),
  'telemetry log': (message) => new TelemetryLogUnavailable(message),
  database: (message) => new ReadModelsUnavailable(message),
};

const never = new Promise<never>(() => {});

/**
 * A process of Fieldlog. All that it asks of a server goes through `call`: there it may wait, be refused, or crash
 * before or after the server has acted. After a crash nothing it was waiting for ever comes.
 */
export class SimulatedProcess {
  readonly name: string;
  readonly stopping = new AbortController();
  readonly network: Network;
  readonly #ended = Promise.withResolvers<void>();
  readonly #cleanups = new Set<() => void>();
  isAlive = true;
  /** Milliseconds that its clock is ahead. */
  clockSkew = 0;

  constructor(name: string, network: Network) {
    this.name = name;
    this.network = network;
  }

  get crashed(): Promise<void> {
    return this.#ended.promise;
  }

  crash(why: string): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.network.timeline.add(this.name, `CRASH ${why}`);
    if (why !== 'stopped') this.network.timeline.count('fault: crash');
    for (const cleanup of this.#cleanups) cleanup();
    this.#ended.resolve();
  }

  /** What others do once they notice that it is gone. Returns how to take that back. */
  onCrash(cleanup: () => void): () => void {
    this.#cleanups.add(cleanup);
    return () => this.#cleanups.delete(cleanup);
  }

  async call<T>(server: ServerName, asked: string, effect: () => T | Promise<T>): Promise<T> {
    await this.#travel(server, `before ${asked}`);
    const { random, faults, away } = this.network;
    if (away.has(server) || random.chance(faults.requestLost)) {
      this.#note(server, 'request lost', asked);
      throw unavailable[server](`the ${server} cannot be reached`);
    }
    const answer = await effect();
    await this.#travel(server, `after ${asked}`);
    if (random.chance(faults.answerLost)) {
      this.#note(server, 'answer lost', asked);
      throw unavailable[server](`the ${server} did not answer`);
    }
    return answer;
  }

  /** Never resolves once the process is gone. */
  async alive(): Promise<void> {
    if (!this.isAlive) await never;
  }

  async #travel(server: ServerName, point: string): Promise<void> {
    if (!this.isAlive) await never;
    const { random, faults, stalled } = this.network;
    while (stalled.has(server)) await stalled.get(server);
    if (!this.isAlive) await never;
    if (random.chance(0.6)) {
      const isSlow = faults.slow > 0 && random.chance(0.02);
      const time = isSlow ? random.between(1, faults.slow) : random.between(0, 4);
      await new Promise((resolve) => setTimeout(resolve, time));
    }
    if (this.isAlive && this.network.crashesLeft > 0 && random.chance(faults.crash)) {
      this.network.crashesLeft -= 1;
      this.crash(`${point} at the ${server}`);
    }
    if (!this.isAlive) await never;
  }

  #note(server: ServerName, fault: string, asked: string): void {
    this.network.timeline.add(this.name, `FAULT ${fault}: ${asked} at the ${server}`);
    this.network.timeline.count(`fault: ${fault}, ${server}`);
  }
}
