import type { FaultKind } from './options.ts';
import type { Random } from './random.ts';
import { noDatabaseFaults } from './world/database.ts';
import { noNetworkFaults, serverNames } from './world/process.ts';
import type { World } from './world.ts';

const hour = 3_600_000;

/** What the world does to its processes and servers. */
export class Faults {
  readonly #world: World;
  readonly #random: Random;
  readonly #ruleRandom: Random;
  readonly #starting = { api: 0, worker: 0 };
  #deletions = 0;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#ruleRandom = random.fork('rules');
  }

  #has(kind: FaultKind): boolean {
    return this.#world.options.faults.includes(kind);
  }

  /** Before each operation: the weather changes now and then, and processes that are gone come back. */
  draw(operation: number): void {
    if (operation % 40 === 0) this.#weather();
    if (this.#has('rebalance') && this.#random.chance(0.02)) {
      this.#world.timeline.count('fault: rebalance');
      this.#world.servers.telemetryLog.rebalance();
    }
    if (this.#random.chance(0.01)) this.#world.servers.eventStore.scavenge();
    if (this.#has('deletion') && this.#random.chance(0.01)) this.#deleteStream();
    this.keepAlive(this.#random.between(0, 4000));
  }

  /** An administrator of the event store deletes a device's stream; two thirds of the devices stay. */
  #deleteStream(): void {
    const { devices, servers, timeline, options } = this.#world;
    const left = devices.deviceIds;
    if (left.length === 0 || this.#deletions >= options.devices / 3) return;
    this.#deletions += 1;
    const stream = `device-${this.#random.pick(left)}`;
    timeline.add('world', `${stream} is deleted for good`);
    timeline.count('fault: stream deleted');
    servers.eventStore.deleteForGood(stream);
  }

  /** Rules come early, and change now and then. */
  changesRules(): boolean {
    return this.#world.options.hasRules && this.#ruleRandom.chance(0.03);
  }

  #weather(): void {
    const { network, servers, timeline } = this.#world;
    const isStorm = this.#random.chance(0.5);
    const some = (kind: FaultKind, most: number) =>
      isStorm && this.#has(kind) ? (most * this.#random.between(1, 10)) / 10 : 0;
    network.faults = {
      requestLost: some('lost', 0.02),
      answerLost: some('lost', 0.02),
      crash: some('crash', 0.001),
      slow: some('slow', 3000),
    };
    network.crashesLeft = isStorm ? 3 : 0;
    servers.database.faults = {
      deadlock: some('transactions', 0.1),
      commitLost: some('transactions', 0.1),
      full: some('transactions', 0.03),
    };
    network.away.clear();
    if (isStorm && this.#has('away') && this.#random.chance(0.3)) {
      const server = this.#random.pick(serverNames);
      network.away.add(server);
      timeline.count(`fault: ${server} away`);
      setTimeout(() => network.away.delete(server), this.#random.between(100, 4000));
    }
    timeline.add(
      'world',
      `weather ${isStorm ? JSON.stringify(network.faults) : 'calm'} ${[...network.away]}`,
    );
  }

  end(): void {
    const { network, servers } = this.#world;
    network.faults = { ...noNetworkFaults };
    network.crashesLeft = 0;
    network.away.clear();
    servers.database.faults = { ...noDatabaseFaults };
    this.#world.timeline.add('world', 'faults end');
  }

  /** Starts what is gone, some milliseconds later, one after the other. Returns whether nothing is. */
  keepAlive(after: number): boolean {
    const { apis, workers, options } = this.#world;
    for (const [role, list, wanted] of [
      ['api', apis, options.apiNodes],
      ['worker', workers, options.workers],
    ] as const) {
      for (let i = list.length - 1; i >= 0; i -= 1) if (!list[i]?.process.isAlive) list.splice(i, 1);
      if (list.length + this.#starting[role] >= wanted) continue;
      this.#starting[role] += 1;
      setTimeout(() => {
        this.#starting[role] -= 1;
        this.#world.startOne(role).catch((error) => this.#world.fail(error));
      }, after);
    }
    return apis.length === options.apiNodes && workers.length === options.workers;
  }

  /** With everything at rest: time leaps, the log forgets its beginning, and an operator puts back what is older. */
  async betweenRounds(): Promise<void> {
    const { time, timeline, servers } = this.#world;
    if (this.#has('leap')) {
      const leap = this.#random.between(1, 30) * hour;
      timeline.add('world', `time leaps by ${leap / hour} hours`);
      timeline.count('fault: leap');
      time.leap(leap);
    }
    if (this.#has('expiry')) {
      const tenths = this.#random.between(1, 10);
      timeline.add('world', `${tenths} tenths of the telemetry log expire`);
      timeline.count('fault: expiry');
      servers.telemetryLog.expire(tenths / 10);
    }
    if (!this.#has('restore')) return;
    const what = this.#random.pick([
      'database',
      'telemetry log',
      'event store',
      'telemetry log anew',
    ] as const);
    const copies = {
      database: servers.database.copy(),
      telemetry: servers.telemetryLog.copy(),
      events: servers.eventStore.copy(),
    };
    timeline.add('world', `a copy of the ${what} is made`);
    await this.#world.liveOn(60);
    await this.#world.stopAll();
    timeline.add('world', `the copy of the ${what} is put back`);
    timeline.count(`fault: ${what} put back`);
    if (what === 'database') servers.database.putBack(copies.database);
    if (what === 'event store') {
      servers.eventStore.putBack(copies.events, false);
      this.#world.hasLostEvents = true;
    }
    if (what === 'telemetry log') servers.telemetryLog.putBack(copies.telemetry, false);
    if (what === 'telemetry log anew') servers.telemetryLog.putBack(copies.telemetry, true);
    await this.#world.recover();
  }
}
