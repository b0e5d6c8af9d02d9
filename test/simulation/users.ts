import type { DeviceCommand } from '../../domain/device.ts';
import type { Metrics } from '../../domain/telemetry.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { collected } from '../support/collected.ts';
import { type CommandRequest, check, checkError } from './book-keeper.ts';
import { hashOf } from './random.ts';
import type { RunningProcess } from './world/fieldlog.ts';
import type { World } from './world.ts';

type Keyed = { readonly command: DeviceCommand; readonly key: string; readonly actor: string };

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

/** Devices, their owners and the analysts: what they ask, and what the books say of the answers. */
export class Users {
  readonly #world: World;
  readonly #keyed: Keyed[] = [];
  #requests = 0;
  #futures = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** One operation; resolves when it is answered, or its process is gone. */
  async act(): Promise<void> {
    const { random } = this.#world;
    const kind = random.weighted(operationWeights);
    this.#world.timeline.count(`operation: ${kind}`);
    if (kind === 'produce') return this.#produce();
    const api = this.#world.anyApi();
    if (!api) return;
    const work = {
      command: () => this.#command(api),
      repeat: () => this.#repeat(api),
      race: () => this.#race(api),
      ingest: () => this.#ingest(api),
      retract: () => this.#retract(api),
      readDevice: () => this.#readDevice(api),
      readPast: () => this.#readPast(api),
      readPoints: () => this.#readPoints(api),
    }[kind];
    await Promise.race([work(), api.process.crashed]);
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

  #id(kind: string): string {
    this.#requests += 1;
    return `${kind}-${this.#requests}`;
  }

  #device(): string {
    return `d${this.#world.random.between(1, this.#world.options.devices)}`;
  }

  #drawCommand(deviceId: string): DeviceCommand {
    const { random } = this.#world;
    const type = random.weighted({
      RegisterDevice: 10,
      ChangeDeviceDetails: 8,
      SuspendDevice: 4,
      ReinstateDevice: 6,
      IssueDeviceToken: 2,
      DecommissionDevice: 0.3,
      EraseDevice: 0.3,
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

  async #command(api: RunningProcess): Promise<void> {
    const { random, devices } = this.#world;
    const command = this.#drawCommand(this.#device());
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

  async #repeat(api: RunningProcess): Promise<void> {
    const { random } = this.#world;
    if (this.#keyed.length === 0) return;
    // The newest most often, any at times.
    const from = random.chance(0.6) ? Math.max(0, this.#keyed.length - 4) : 0;
    const keyed = this.#keyed[random.between(from, this.#keyed.length - 1)] as Keyed;
    await this.#handle(api, reordered(keyed.command), keyed);
  }

  async #race(api: RunningProcess): Promise<void> {
    const { random, devices } = this.#world;
    const deviceId = this.#device();
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

  async #handle(
    api: RunningProcess,
    command: DeviceCommand,
    keyed?: Keyed,
    expectedRevision?: number,
  ): Promise<void> {
    const { devices, timeline } = this.#world;
    const id = this.#id('c');
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
    } catch (error) {
      this.#failed(api, id, error);
      devices.refused(request, error as Error, knownBefore);
    }
  }

  #metrics(): Metrics {
    const { random } = this.#world;
    const value = () => random.pick([random.between(-80, 80) / 8, random.between(0, 3), true, 'on']);
    return random.pick<() => Metrics>([
      () => ({ t: value() }),
      () => ({ h: value() }),
      () => ({ t: value(), h: value() }),
    ])();
  }

  /** On a coarse grid, so that readings meet. */
  #time(): number {
    const { random } = this.#world;
    const now = Math.floor(Date.now() / 1000) * 1000;
    const age = random.weighted({ recent: 70, hours: 25, days: 5 });
    if (age === 'recent') return now - random.between(0, 90) * 1000;
    return age === 'hours' ? now - random.between(0, 40) * 300_000 : now - random.between(0, 8) * 43_200_000;
  }

  async #ingest(api: RunningProcess): Promise<void> {
    const { random, timeline, devices, servers } = this.#world;
    const id = this.#id('i');
    const readings = Array.from({ length: random.pick([1, 1, 2, 5, 12]) }, (_, index) => ({
      index,
      deviceId: this.#device(),
      timestamp: random.chance(0.15) ? undefined : this.#time(),
      metrics: this.#metrics(),
    }));
    const known = new Set(
      readings.filter(({ deviceId }) => devices.acknowledged(deviceId) >= 0).map((one) => one.deviceId),
    );
    timeline.add(api.process.name, `${id} readings of ${readings.map(({ deviceId }) => deviceId)}`);
    try {
      const ingest = await api.container.getAsync(s.ingest);
      const { accepted, refused, positions } = await ingest(readings, { correlationId: id, actor: 'device' });
      timeline.add(
        api.process.name,
        `${id} accepted ${accepted} at ${positions.map((at) => `${at.partition}/${at.position}`)}`,
      );
      const log = servers.telemetryLog.partitions;
      const stored = log.reduce(
        (sum, facts) => sum + facts.filter(({ correlationId }) => correlationId === id).length,
        0,
      );
      check(stored === accepted, () => `${id} was told of ${accepted} readings, the log has ${stored}`);
      check(accepted + refused.length === readings.length, () => `${id} was not told of every reading`);
      for (const { partition, position } of positions)
        check(
          log[partition]?.some((fact) => fact.position === position) === true,
          () => `${id} was told of ${partition}/${position}, which is not in the log`,
        );
      for (const { deviceId, reason } of refused)
        check(
          reason !== 'unknown-device' || !known.has(deviceId),
          () => `${id}: ${deviceId} was refused as unknown after its registration was answered`,
        );
      if (accepted > 0 && random.chance(0.3)) await this.#readBack(api, id, positions);
    } catch (error) {
      this.#failed(api, id, error);
      checkError(error as Error, id);
    }
  }

  /** What was accepted can be read at its position, whichever node is asked. */
  async #readBack(
    api: RunningProcess,
    id: string,
    positions: readonly { partition: number; position: string }[],
  ): Promise<void> {
    const { telemetryLog } = this.#world.servers;
    const freshness = await api.container.getAsync(s.freshness);
    await freshness.waitFor(
      ['telemetry'],
      positions.map((at) => ({ ...at, source: 'telemetry' as const })),
      400,
    );
    const parked = await (await api.container.getAsync(s.deadLetters)).list(
      { projection: 'telemetry' },
      { limit: 1 },
    );
    if (parked.length > 0 || this.#world.options.retentionDays !== null || this.#world.isSwitching) return;
    for (const facts of telemetryLog.partitions)
      for (const { data, correlationId } of facts) {
        const { deviceId, timestamp, metrics, untimed } = data as {
          deviceId: string;
          timestamp: number;
          metrics: Metrics;
          untimed?: true;
        };
        if (correlationId !== id || untimed || this.#world.isTouched(deviceId, timestamp, id)) continue;
        const points = await this.#points(api, deviceId, timestamp, timestamp + 1);
        for (const [name, value] of Object.entries(metrics))
          check(
            points.some((point) => point.metric === name && point.value === value) ||
              // A retraction may have come since it was asked.
              this.#world.isTouched(deviceId, timestamp, id),
            () => `${id}: ${name} of ${deviceId} at ${timestamp} cannot be read at its position`,
          );
      }
  }

  async #points(api: RunningProcess, deviceId: string, from: number, to: number) {
    const queries = await api.container.getAsync(s.telemetryQueries);
    const query = {
      scope: { deviceId },
      range: { from, to },
      order: 'asc',
      limit: Number.POSITIVE_INFINITY,
    } as const;
    return collected(queries.points(query));
  }

  async #retract(api: RunningProcess): Promise<void> {
    const { random, timeline } = this.#world;
    const id = this.#id('t');
    const isAll = random.chance(0.3);
    const from = isAll ? Date.now() - 30 * 86_400_000 : this.#time();
    const to = isAll ? Date.now() : Math.min(from + random.pick([1000, 30_000, 7_200_000]), Date.now());
    const deviceId = this.#device();
    if (to <= from) return;
    timeline.add(api.process.name, `${id} retract ${deviceId} for ${to - from} ms`);
    try {
      const retract = await api.container.getAsync(s.retract);
      const metric = random.chance(0.5) ? { metric: 't' } : {};
      await retract(
        { deviceId, from, to, reason: 'wrong', ...metric },
        { correlationId: id, actor: 'owner' },
      );
    } catch (error) {
      this.#failed(api, id, error);
      checkError(error as Error, id);
    }
  }

  async #readDevice(api: RunningProcess): Promise<void> {
    const { devices } = this.#world;
    const id = this.#id('r');
    const deviceId = this.#device();
    const before = devices.acknowledged(deviceId);
    try {
      const found = await (await api.container.getAsync(s.history)).deviceAt(deviceId, 'now');
      devices.strongRead(deviceId, found?.device, before);
    } catch (error) {
      checkError(error as Error, id);
    }
  }

  async #readPast(api: RunningProcess): Promise<void> {
    const id = this.#id('p');
    const time = Date.now() - this.#world.random.between(0, 100_000);
    try {
      await (await api.container.getAsync(s.history)).deviceAt(this.#device(), { time });
    } catch (error) {
      checkError(error as Error, id);
    }
  }

  /** Nothing that was never sent. */
  async #readPoints(api: RunningProcess): Promise<void> {
    const { servers, timeline } = this.#world;
    const id = this.#id('q');
    const deviceId = this.#device();
    try {
      const found = await this.#points(api, deviceId, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
      if (this.#world.isSwitching) return;
      const sent = new Set<string>();
      for (const facts of servers.telemetryLog.partitions)
        for (const { data } of facts) {
          const { deviceId: of, metrics } = data as { deviceId?: string; metrics?: Metrics };
          if (of === deviceId)
            for (const [name, value] of Object.entries(metrics ?? {})) sent.add(`${name} ${value}`);
        }
      for (const { metric, value, timestamp } of found)
        check(
          sent.has(`${metric} ${value}`),
          () => `${id}: ${metric} ${value} of ${deviceId} at ${timestamp} was never sent`,
        );
      timeline.add(api.process.name, `${id} ${found.length} points of ${deviceId}`);
    } catch (error) {
      checkError(error as Error, id);
    }
  }

  /** Another producer of the log, which knows no rule. */
  #produce(): void {
    const { random, timeline, servers, options } = this.#world;
    const id = this.#id('f');
    const allowed = options.faults.includes('poison');
    const kind = random.weighted({
      reading: 4,
      unknown: 2,
      malformed: allowed ? 2 : 0,
      type: allowed ? 0.5 : 0,
      partition: allowed && options.partitions > 1 ? 0.5 : 0,
      future: allowed ? 1 : 0,
    });
    const deviceId = this.#device();
    this.#futures += 1;
    const future = Date.now() + 7_200_000 + this.#futures;
    const data = {
      reading: { deviceId, timestamp: this.#time(), metrics: this.#metrics() },
      type: { deviceId, timestamp: this.#time(), metrics: this.#metrics() },
      unknown: { deviceId, timestamp: this.#time(), metrics: this.#metrics() },
      partition: { deviceId, timestamp: this.#time(), metrics: this.#metrics() },
      future: { deviceId, timestamp: future, metrics: this.#metrics() },
      malformed: random.pick<unknown>([
        { deviceId, metrics: {} },
        { deviceId: '', timestamp: 1 },
        { deviceId, timestamp: 0.5, metrics: { t: 1 } },
        {},
      ]),
    }[kind];
    const right = servers.telemetryLog.partitionOf(String((data as { deviceId?: string }).deviceId ?? ''));
    const partition = kind === 'partition' ? (right + 1) % options.partitions : right;
    timeline.add('producer', `${id} ${kind} of ${deviceId} to ${partition}`);
    const header = {
      id: `foreign-${hashOf(id).toString(16)}-${id}`,
      schemaVersion: 1,
      receivedAt: Date.now(),
      correlationId: id,
      actor: 'foreign',
    };
    const type = kind === 'type' ? 'NeverHeardOf' : 'TelemetryRecorded';
    servers.telemetryLog.append(partition, { ...header, type: type as 'TelemetryRecorded' }, [data]);
  }

  #failed({ process }: RunningProcess, id: string, error: unknown): void {
    this.#world.timeline.add(
      process.name,
      `${id} failed: ${(error as Error).name} ${(error as Error).message}`,
    );
  }
}

/** The same command with the names of its labels in another order. */
function reordered(command: DeviceCommand): DeviceCommand {
  if (command.type !== 'RegisterDevice') return command;
  const labels = Object.fromEntries(Object.entries(command.details.labels).reverse());
  return { ...command, details: { ...command.details, labels } };
}
