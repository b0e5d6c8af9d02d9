import type { DeviceCommand } from '../../domain/device.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { type CommandRequest, checkError } from './book-keeper.ts';
import type { Requests } from './requests.ts';
import type { RunningProcess } from './world/fieldlog.ts';
import type { World } from './world.ts';

type Keyed = { readonly command: DeviceCommand; readonly key: string; readonly actor: string };

/** Owners of devices: their commands, and what they read of devices. */
export class DeviceUsers {
  readonly #world: World;
  readonly #requests: Requests;
  readonly #keyed: Keyed[] = [];

  constructor(world: World, requests: Requests) {
    this.#world = world;
    this.#requests = requests;
  }

  register(deviceId: string): Promise<void> {
    const details = { name: deviceId, type: 'sensor', labels: {} };
    return this.#handle(this.#world.anyApi() as RunningProcess, {
      type: 'RegisterDevice',
      deviceId,
      details,
    });
  }

  erase(deviceId: string): Promise<void> {
    const command = { type: 'EraseDevice', deviceId, reason: 'asked for' } as const;
    return this.#handle(this.#world.anyApi() as RunningProcess, command);
  }

  async command(api: RunningProcess): Promise<void> {
    const { random, devices } = this.#world;
    const command = this.#drawCommand(this.#requests.device());
    if (random.chance(0.4)) {
      const keyed = { command, key: `k${random.between(1, 400)}`, actor: 'owner' };
      if (
        this.#keyed.some(
          ({ key, command: other }) => key === keyed.key && other.deviceId === command.deviceId,
        )
      )
        return;
      this.#keyed.push(keyed);
      return this.#handle(api, command, keyed);
    }
    const expectedRevision = random.chance(0.2) ? devices.acknowledged(command.deviceId) : undefined;
    await this.#handle(api, command, undefined, expectedRevision === -1 ? undefined : expectedRevision);
  }

  async repeat(api: RunningProcess): Promise<void> {
    const { random } = this.#world;
    if (this.#keyed.length === 0) return;
    // The newest most often, any at times.
    const from = random.chance(0.6) ? Math.max(0, this.#keyed.length - 4) : 0;
    const keyed = this.#keyed[random.between(from, this.#keyed.length - 1)] as Keyed;
    await this.#handle(api, reordered(keyed.command), keyed);
  }

  async race(api: RunningProcess): Promise<void> {
    const { random, devices } = this.#world;
    const deviceId = this.#requests.device();
    const known = devices.acknowledged(deviceId);
    const expected = known === -1 || random.chance(0.5) ? undefined : known;
    const other = this.#world.anyApi() ?? api;
    await Promise.all([
      this.#handle(api, this.#drawCommand(deviceId), undefined, expected),
      Promise.race([
        this.#handle(other, this.#drawCommand(deviceId), undefined, expected),
        other.process.crashed,
      ]),
    ]);
  }

  async readDevice(api: RunningProcess): Promise<void> {
    const { devices } = this.#world;
    const id = this.#requests.id('r');
    const deviceId = this.#requests.device();
    const before = devices.acknowledged(deviceId);
    try {
      const found = await (await api.container.getAsync(s.history)).deviceAt(deviceId, 'now');
      devices.strongRead(deviceId, found?.device, before);
    } catch (error) {
      checkError(error as Error, id);
    }
  }

  async readPast(api: RunningProcess): Promise<void> {
    const id = this.#requests.id('p');
    const time = Date.now() - this.#world.random.between(0, 100_000);
    try {
      await (await api.container.getAsync(s.history)).deviceAt(this.#requests.device(), { time });
    } catch (error) {
      checkError(error as Error, id);
    }
  }

  #drawCommand(deviceId: string): DeviceCommand {
    const { random, options } = this.#world;
    const type = random.weighted({
      RegisterDevice: 10,
      ChangeDeviceDetails: 8,
      SuspendDevice: 4,
      ReinstateDevice: 6,
      IssueDeviceToken: 2,
      DecommissionDevice: 0.3,
      EraseDevice: options.faults.includes('forget') ? 2 : 0.3,
    });
    const name = `n${random.between(1, 3)}`;
    const labels: Record<string, string> = random.chance(0.5) ? { a: '1', b: '2' } : { b: '2', a: '1' };
    const kind = random.pick(['sensor', 'meter']);
    const reason = 'asked for';
    switch (type) {
      case 'RegisterDevice':
        return { type, deviceId, details: { name, type: kind, labels } };
      case 'ChangeDeviceDetails':
        return {
          type,
          deviceId,
          changes: random.pick([{ name }, { type: kind }, { labels }, { name, labels }]),
        };
      case 'IssueDeviceToken':
        return { type, deviceId, tokenHash: random.hex(64) };
      case 'ReinstateDevice':
        return { type, deviceId };
      default:
        return { type, deviceId, reason };
    }
  }

  async #handle(
    api: RunningProcess,
    command: DeviceCommand,
    keyed?: Keyed,
    expectedRevision?: number,
  ): Promise<void> {
    const { devices, timeline } = this.#world;
    const id = this.#requests.id('c');
    const request: CommandRequest = { id, command, key: keyed?.key, expectedRevision };
    const knownBefore = devices.acknowledged(command.deviceId);
    devices.asked(request);
    const how = [keyed?.key, expectedRevision !== undefined ? `at ${expectedRevision}` : undefined]
      .filter(Boolean)
      .join(' ');
    timeline.add(api.process.name, `${id} ${command.type} ${command.deviceId} ${how}`);
    const context = {
      correlationId: id,
      actor: keyed?.actor ?? 'owner',
      ...(keyed && { idempotencyKey: keyed.key }),
      ...(expectedRevision !== undefined && { expectedRevision }),
    };
    try {
      const answer =
        command.type === 'EraseDevice'
          ? await (await api.container.getAsync(s.erase))(command.deviceId, command.reason, context)
          : await (await api.container.getAsync(s.commands)).handle(command, context);
      timeline.add(api.process.name, `${id} answered revision ${answer.device.revision}`);
      devices.answered(request, answer);
      if (command.type === 'EraseDevice') this.#world.faults.forget(command.deviceId);
    } catch (error) {
      this.#requests.failed(api, id, error);
      devices.refused(request, error as Error, knownBefore);
    }
  }
}

/** The same command with the names of its labels in another order. */
function reordered(command: DeviceCommand): DeviceCommand {
  if (command.type !== 'RegisterDevice') return command;
  const labels = Object.fromEntries(Object.entries(command.details.labels).reverse());
  return { ...command, details: { ...command.details, labels } };
}
