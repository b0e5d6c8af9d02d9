import type { RunningProcess } from './world/fieldlog.ts';
import type { World } from './world.ts';

/** Names of requests, and lines for those that failed. */
export class Requests {
  readonly #world: World;
  #count = 0;

  constructor(world: World) {
    this.#world = world;
  }

  id(kind: string): string {
    this.#count += 1;
    return `${kind}-${this.#count}`;
  }

  device(): string {
    return `d${this.#world.random.between(1, this.#world.options.devices)}`;
  }

  failed({ process }: RunningProcess, id: string, error: unknown): void {
    const { name, message } = error as Error;
    this.#world.timeline.add(process.name, `${id} failed: ${name} ${message}`);
  }
}
