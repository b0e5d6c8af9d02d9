import type { AuditReport } from '../../application/operations/audit.ts';
import { check, DeviceBook, Violation } from './book-keeper.ts';
import { Faults } from './faults.ts';
import { Fleet } from './fleet.ts';
import { Importers } from './importers.ts';
import { Operators } from './operators.ts';
import type { WorldOptions } from './options.ts';
import { Random } from './random.ts';
import { checkNoneRefused, endImports, rebuildRefused, settle } from './settlement.ts';
import { TelemetryIndex } from './telemetry-index.ts';
import { Timeline } from './timeline.ts';
import { Users } from './users.ts';
import { DatabaseServer } from './world/database.ts';
import { EventStoreServer } from './world/event-store.ts';
import type { RunningProcess, Servers } from './world/fieldlog.ts';
import { type Network, noNetworkFaults, SimulatedProcess } from './world/process.ts';
import { TelemetryLogServer } from './world/telemetry-log.ts';
import { SimulatedTime } from './world/time.ts';

/** 2025-03-01T20:00:00Z: a day and a month end while the world lasts. */
const beginning = Date.UTC(2025, 2, 1, 20);
const mostAtOnce = 24;

export type WorldResult = {
  readonly options: WorldOptions;
  readonly timeline: Timeline;
  /** Milliseconds by the world's calendar. */
  readonly lasted: number;
  readonly violation: Error | undefined;
};

/** One world, from its seed to its last check. */
export class World {
  readonly options: WorldOptions;
  readonly random: Random;
  readonly time = new SimulatedTime(beginning);
  readonly timeline = new Timeline(() => this.time.calendar);
  readonly network: Network;
  readonly servers: Servers;
  readonly devices: DeviceBook;
  readonly telemetry: TelemetryIndex;
  readonly fleet: Fleet;
  /** Processes of operators' commands. */
  readonly running = new Set<SimulatedProcess>();
  readonly users: Users;
  readonly operators: Operators;
  readonly importers: Importers;
  readonly faults: Faults;
  #inFlight = 0;
  #violation: Error | undefined;
  #isEnding = false;
  #isRecovering = false;
  /** The event store was put back: rules may be gone by which readings were judged. */
  hasLostEvents = false;

  constructor(options: WorldOptions) {
    this.options = options;
    const random = new Random(options.seed);
    this.random = random.fork('operations');
    this.network = {
      random: random.fork('network'),
      timeline: this.timeline,
      faults: { ...noNetworkFaults },
      away: new Set(),
      stalled: new Map(),
      crashesLeft: 0,
    };
    this.servers = {
      eventStore: new EventStoreServer(random.fork('event store')),
      telemetryLog: new TelemetryLogServer(random.fork('telemetry log'), options.partitions),
      database: new DatabaseServer(random.fork('database')),
    };
    this.devices = new DeviceBook(() => this.servers.eventStore.history);
    this.telemetry = new TelemetryIndex(() => this.servers.telemetryLog.partitions);
    this.fleet = new Fleet(this, random.fork('fleet'));
    this.users = new Users(this, random);
    this.operators = new Operators(this);
    this.importers = new Importers(this, random.fork('imports'));
    this.faults = new Faults(this, random.fork('faults'));
  }

  /** Tables may be another generation's, or speak of what has left the log. */
  get isSwitching(): boolean {
    return this.#isRecovering || this.fleet.isUpgrading || this.operators.switching > 0;
  }

  /** Every invariant holds, or the first that does not is thrown. */
  async live(): Promise<void> {
    await this.#during(
      this.servers.database.migrate(new SimulatedProcess('migration', this.network)),
      10_000,
    );
    await this.fleet.startAll('api');
    await this.fleet.startAll('worker');
    const { operations, rounds, isBusy } = this.options;
    for (let round = 1; round <= rounds; round += 1) {
      this.timeline.add('world', `ROUND ${round}`);
      const count = Math.floor(operations / rounds);
      await this.#chaos(count, isBusy && round === rounds ? Math.floor(count * 0.6) : undefined);
      this.faults.end();
      const { importers } = this;
      await this.until('requests are answered', 120_000, async () => this.#inFlight === importers.inFlight);
      await endImports(this);
      await this.until('every process runs', 60_000, async () => this.fleet.keepAlive(0));
      await settle(this, 'quiet');
      if (round === rounds) await settle(this, 'rebuilt');
      else await this.faults.betweenRounds();
    }
  }

  /** `left`: the operation at which a rebuild is begun that only the last of the world takes up. */
  async #chaos(operations: number, left: number | undefined): Promise<void> {
    for (let i = 0; i < operations; i += 1) {
      if (i === left) this.#start(() => this.operators.leaveRebuild());
      this.faults.draw(i);
      if (this.faults.changesRules()) this.#start(() => this.users.changeRules());
      if (this.importers.isDue()) this.#start(() => this.importers.act());
      if (this.#inFlight < mostAtOnce)
        this.#start(
          this.random.chance(this.options.isBusy ? 0.1 : 0.025)
            ? () => this.operators.act()
            : () => this.users.act(),
        );
      await this.pass(this.random.between(0, this.options.pace));
    }
  }

  #start(work: () => Promise<void>): void {
    this.#inFlight += 1;
    work()
      .catch((error) => this.fail(error))
      .finally(() => {
        this.#inFlight -= 1;
      });
  }

  /** The first fault ends the world. */
  fail(error: unknown): void {
    if (!this.#isEnding) this.#violation ??= error as Error;
  }

  async pass(milliseconds: number): Promise<void> {
    await this.time.pass(milliseconds, () => this.#violation !== undefined);
    if (this.#violation) throw this.#violation;
  }

  /** Work of the world's own, while time passes. */
  async #during<T>(work: Promise<T>, within: number): Promise<T> {
    let result: { readonly value: T } | undefined;
    work.then(
      (value) => {
        result = { value };
      },
      (error) => this.fail(error),
    );
    await this.time.pass(within, () => result !== undefined || this.#violation !== undefined);
    if (this.#violation) throw this.#violation;
    if (!result) throw new Violation(`something that should take ${within} ms at most did not end`);
    return result.value;
  }

  during<T>(work: () => Promise<T>, within = 120_000): Promise<T> {
    return this.#during(work(), within);
  }

  /** Liveness: it has to become so within that time. */
  async until(what: string, within: number, holds: () => Promise<boolean>): Promise<void> {
    const deadline = this.time.elapsed + within;
    while (!(await this.during(holds))) {
      if (this.time.elapsed >= deadline) throw new Violation(`not within ${within / 1000} s: ${what}`);
      await this.pass(500);
    }
  }

  anyApi(): RunningProcess | undefined {
    return this.fleet.anyApi(this.random);
  }

  /** So many operations without faults. */
  async liveOn(operations: number): Promise<void> {
    for (let i = 0; i < operations; i += 1) {
      this.#start(() => this.users.act());
      await this.pass(this.random.between(0, this.options.pace));
    }
    await this.until('requests are answered', 60_000, async () => this.#inFlight === 0);
  }

  /** After a log or the tables were put back, or all of them `together`: what operators do then. */
  async recover(together: boolean): Promise<void> {
    const before = this.devices.deviceIds.map(
      (deviceId) => [deviceId, this.devices.state(deviceId)] as const,
    );
    const deleted = this.devices.deletedIds;
    this.devices.restart();
    this.telemetry.restart();
    this.#isRecovering = true;
    await this.fleet.startAll('api');
    // The log may have grown beyond its old end before a projector looks at it.
    if (this.random.chance(0.5)) await this.liveOn(80);
    await this.fleet.startAll('worker');
    for (const deviceId of deleted) this.servers.eventStore.deleteForGood(`device-${deviceId}`);
    // What an older event store does not know is registered again by its owner, and erased or deleted again.
    for (const [deviceId, state] of before) {
      if (this.devices.state(deviceId) === undefined)
        await this.during(() => this.users.devices.register(deviceId));
      if (state?.status === 'erased') await this.during(() => this.users.devices.erase(deviceId));
    }
    if (together) await checkNoneRefused(this);
    else await rebuildRefused(this);
    this.#isRecovering = false;
  }

  /** Whether more than one event in the log speaks of that moment of a device. */
  isTouched(deviceId: string, timestamp: number): boolean {
    return (
      this.telemetry.isTouched(deviceId, timestamp) ||
      this.devices.state(deviceId)?.status === 'erased' ||
      this.devices.isDeleted(deviceId)
    );
  }

  checkAudit({ differenceCount, differences }: AuditReport): void {
    check(
      differenceCount === 0,
      () => `the audit found ${differenceCount} differences: ${JSON.stringify(differences[0])}`,
    );
  }

  end(): void {
    this.#isEnding = true;
    for (const process of this.fleet.processes) process.isAlive = false;
    for (const process of this.running) process.isAlive = false;
    this.time.end();
    this.servers.database.end();
  }
}

export async function runWorld(options: WorldOptions): Promise<WorldResult> {
  const world = new World(options);
  const unhandled = (error: unknown) => world.fail(error);
  process.on('unhandledRejection', unhandled);
  let violation: Error | undefined;
  try {
    await world.live();
  } catch (error) {
    violation = error as Error;
  } finally {
    const lasted = world.time.calendar;
    if (violation) world.timeline.add('VIOLATION', violation.message);
    else world.timeline.add('world', 'END');
    world.end();
    process.off('unhandledRejection', unhandled);
    // biome-ignore lint/correctness/noUnsafeFinally: the result is made here on purpose
    return { options, timeline: world.timeline, lasted, violation };
  }
}
