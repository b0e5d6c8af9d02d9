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
  readonly #laterRandom: Random;
  readonly #stalls = new Set<() => void>();
  #deletions = 0;
  /** Everything is at rest. */
  #isOver = false;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#ruleRandom = random.fork('rules');
    this.#laterRandom = random.fork('later');
  }

  #has(kind: FaultKind): boolean {
    return this.#world.options.faults.includes(kind);
  }

  /** Before each operation: the weather changes now and then, and processes that are gone come back. */
  draw(operation: number): void {
    const { fleet } = this.#world;
    this.#isOver = false;
    if (operation % 40 === 0) this.#weather();
    if (this.#has('rebalance') && this.#random.chance(0.02)) {
      this.#world.timeline.count('fault: rebalance');
      this.#world.servers.telemetryLog.rebalance();
    }
    if (this.#random.chance(0.01)) this.#world.servers.eventStore.scavenge();
    if (this.#has('deletion') && this.#random.chance(0.01)) this.#deleteStream();
    if (this.#has('stall') && this.#laterRandom.chance(0.004)) this.#stall();
    if (this.#has('scale') && this.#laterRandom.chance(0.01)) fleet.scale();
    if (this.#has('release') && this.#laterRandom.chance(0.004)) {
      this.#world.timeline.count('fault: two releases at once');
      fleet.deploy();
    }
    fleet.keepAlive(this.#random.between(0, 4000));
  }

  /** A server that answers nobody for up to minutes, and then answers everybody. */
  #stall(): void {
    const { network, timeline, options } = this.#world;
    const server = this.#laterRandom.pick(serverNames);
    if (network.stalled.has(server)) return;
    const time = this.#laterRandom.between(1000, options.pace * 500);
    timeline.add('world', `the ${server} stalls for ${time} ms`);
    timeline.count(`fault: ${server} stalls`);
    const over = Promise.withResolvers<void>();
    network.stalled.set(server, over.promise);
    const end = () => {
      if (!this.#stalls.delete(end)) return;
      network.stalled.delete(server);
      over.resolve();
    };
    this.#stalls.add(end);
    setTimeout(end, time);
  }

  /** An administrator of the event store deletes a device's stream. */
  #deleteStream(): void {
    const left = this.#world.devices.deviceIds;
    if (left.length > 0) this.#delete(this.#random.pick(left));
  }

  /** The same of a device that was erased, before or after its readings are gone. */
  forget(deviceId: string): void {
    if (!this.#has('forget') || this.#isOver) return;
    setTimeout(
      () => {
        if (!this.#isOver && this.#world.devices.deviceIds.includes(deviceId)) this.#delete(deviceId);
      },
      this.#laterRandom.between(0, 8000),
    );
  }

  /** Two thirds of the devices stay. */
  #delete(deviceId: string): void {
    const { servers, timeline, options } = this.#world;
    if (this.#deletions >= options.devices / 3) return;
    this.#deletions += 1;
    const stream = `device-${deviceId}`;
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
    this.#isOver = true;
    network.faults = { ...noNetworkFaults };
    network.crashesLeft = 0;
    network.away.clear();
    for (const end of this.#stalls) end();
    this.#world.fleet.finishDeployment();
    servers.database.faults = { ...noDatabaseFaults };
    this.#world.timeline.add('world', 'faults end');
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
    if (this.#has('backup') && (!this.#has('restore') || this.#laterRandom.chance(0.5)))
      return this.#restoreBackup();
    if (this.#has('restore')) await this.#restoreOne();
  }

  async #restoreOne(): Promise<void> {
    const { timeline, servers } = this.#world;
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
    await this.#world.fleet.stopAll();
    timeline.add('world', `the copy of the ${what} is put back`);
    timeline.count(`fault: ${what} put back`);
    if (what === 'database') servers.database.putBack(copies.database);
    if (what === 'event store') {
      servers.eventStore.putBack(copies.events, false);
      this.#world.hasLostEvents = true;
    }
    if (what === 'telemetry log') servers.telemetryLog.putBack(copies.telemetry, false);
    if (what === 'telemetry log anew') servers.telemetryLog.putBack(copies.telemetry, true);
    await this.#world.recover(false);
  }

  /** Read models and logs are copied one after the other while users go on, and put back together. */
  async #restoreBackup(): Promise<void> {
    const { timeline, servers } = this.#world;
    const { database, telemetryLog, eventStore } = servers;
    const tables = database.copy();
    await this.#world.liveOn(this.#laterRandom.between(0, 20));
    const telemetry = telemetryLog.copy();
    await this.#world.liveOn(this.#laterRandom.between(0, 20));
    const events = eventStore.copy();
    timeline.add('world', 'a backup of everything is made');
    await this.#world.liveOn(60);
    await this.#world.fleet.stopAll();
    // Of files the logs get new identities, and the tables with them.
    const isRenamed = this.#laterRandom.chance(0.5);
    timeline.add('world', `the backup is put back${isRenamed ? ', with new identities' : ''}`);
    timeline.count('fault: backup put back');
    const before = [telemetryLog.identity, eventStore.identity];
    database.putBack(tables);
    telemetryLog.putBack(telemetry, isRenamed);
    eventStore.putBack(events, isRenamed);
    for (const [i, log] of [telemetryLog, eventStore].entries())
      database.rename(before[i] ?? '', log.identity);
    await this.#world.recover(true);
  }
}
