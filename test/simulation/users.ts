import { DeviceUsers } from './device-users.ts';
import type { Random } from './random.ts';
import { Requests } from './requests.ts';
import { RuleUsers } from './rule-users.ts';
import { TelemetryUsers } from './telemetry-users.ts';
import type { World } from './world.ts';

const operationWeights = {
  command: 20,
  repeat: 8,
  race: 3,
  ingest: 40,
  retract: 3,
  readDevice: 6,
  readPast: 3,
  readPoints: 8,
  produce: 6,
};

/** Devices, their owners and the analysts: which of them asks next. */
export class Users {
  readonly devices: DeviceUsers;
  readonly #telemetry: TelemetryUsers;
  readonly #rules: RuleUsers;
  readonly #world: World;

  constructor(world: World, random: Random) {
    this.#world = world;
    const requests = new Requests(world);
    this.devices = new DeviceUsers(world, requests);
    this.#telemetry = new TelemetryUsers(world, requests, random.fork('doubles'));
    this.#rules = new RuleUsers(world, requests, random.fork('rules'));
  }

  /** A change of a rule, beside the operations. */
  async changeRules(): Promise<void> {
    const api = this.#world.anyApi();
    if (api) await Promise.race([this.#rules.act(api), api.process.crashed]);
  }

  /** One operation; resolves when it is answered, or its process is gone. */
  async act(): Promise<void> {
    const kind = this.#world.random.weighted(operationWeights);
    this.#world.timeline.count(`operation: ${kind}`);
    if (kind === 'produce') return this.#telemetry.produce();
    const api = this.#world.anyApi();
    if (!api) return;
    const [devices, telemetry] = [this.devices, this.#telemetry];
    const work = {
      command: () => devices.command(api),
      repeat: () => devices.repeat(api),
      race: () => devices.race(api),
      ingest: () => telemetry.ingest(api),
      retract: () => telemetry.retract(api),
      readDevice: () => devices.readDevice(api),
      readPast: () => devices.readPast(api),
      readPoints: () => telemetry.readPoints(api),
    }[kind];
    await Promise.race([work(), api.process.crashed]);
  }
}
