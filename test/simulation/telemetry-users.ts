import type { IngestTelemetry } from '../../application/telemetry/ingest.ts';
import type { Metrics, Reading } from '../../domain/telemetry.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { collected } from '../support/collected.ts';
import { check, checkError } from './book-keeper.ts';
import { hashOf, type Random } from './random.ts';
import type { Requests } from './requests.ts';
import type { RunningProcess } from './world/fieldlog.ts';
import type { World } from './world.ts';

/** Devices that send, those that correct what was sent, and those that read it. */
export class TelemetryUsers {
  readonly #world: World;
  readonly #requests: Requests;
  readonly #doubles: Random;
  #futures = 0;

  constructor(world: World, requests: Requests, doubles: Random) {
    this.#world = world;
    this.#requests = requests;
    this.#doubles = doubles;
  }

  async ingest(api: RunningProcess): Promise<void> {
    const { random, options } = this.#world;
    const readings = Array.from({ length: random.pick([1, 1, 2, 5, 12]) }, (_, index) => ({
      index,
      deviceId: this.#requests.device(),
      timestamp: random.chance(0.15) ? undefined : this.#time(),
      metrics: this.#metrics(),
    }));
    const isDouble = options.hasDoubles && this.#doubles.chance(0.1);
    const other = isDouble ? this.#world.fleet.anyApi(this.#doubles) : undefined;
    await Promise.all([
      this.#send(api, readings),
      // A device that has not heard of the first answer, or never waited for it.
      other && Promise.race([this.#send(other, readings), other.process.crashed]),
    ]);
  }

  async #send(api: RunningProcess, readings: Parameters<IngestTelemetry>[0]): Promise<void> {
    const { random, timeline, devices, telemetry } = this.#world;
    const id = this.#requests.id('i');
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
      const stored = telemetry.ofRequest(id).length;
      check(stored === accepted, () => `${id} got an answer for ${accepted} readings, the log has ${stored}`);
      check(accepted + refused.length === readings.length, () => `${id} got no answer for some readings`);
      for (const { partition, position } of positions)
        check(
          telemetry.has(partition, position),
          () => `${id} got ${partition}/${position}, which is not in the log`,
        );
      for (const { deviceId, reason } of refused)
        check(
          reason !== 'unknown-device' || !known.has(deviceId) || devices.isDeleted(deviceId),
          () => `${id}: ${deviceId} was refused as unknown after its registration was answered`,
        );
      if (accepted > 0 && random.chance(0.3)) await this.#readBack(api, id, positions);
    } catch (error) {
      this.#requests.failed(api, id, error);
      checkError(error as Error, id);
    }
  }

  async retract(api: RunningProcess): Promise<void> {
    const { random, timeline } = this.#world;
    const id = this.#requests.id('t');
    const isAll = random.chance(0.3);
    const from = isAll ? Date.now() - 30 * 86_400_000 : this.#time();
    const to = isAll ? Date.now() : Math.min(from + random.pick([1000, 30_000, 7_200_000]), Date.now());
    const deviceId = this.#requests.device();
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
      this.#requests.failed(api, id, error);
      checkError(error as Error, id);
    }
  }

  /** Nothing that was never sent. */
  async readPoints(api: RunningProcess): Promise<void> {
    const { telemetry, timeline } = this.#world;
    const id = this.#requests.id('q');
    const deviceId = this.#requests.device();
    try {
      const found = await this.#points(api, deviceId, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
      if (this.#world.isSwitching) return;
      for (const { metric, value, timestamp } of found)
        check(
          telemetry.hasSent(deviceId, metric, value),
          () => `${id}: ${metric} ${value} of ${deviceId} at ${timestamp} was never sent`,
        );
      timeline.add(api.process.name, `${id} ${found.length} points of ${deviceId}`);
    } catch (error) {
      checkError(error as Error, id);
    }
  }

  /** Another producer of the log, which knows no rule. */
  produce(): void {
    const { random, timeline, servers, options } = this.#world;
    const id = this.#requests.id('f');
    const allowed = options.faults.includes('poison');
    const kind = random.weighted({
      reading: 4,
      unknown: 2,
      malformed: allowed ? 2 : 0,
      type: allowed ? 0.5 : 0,
      partition: allowed && options.partitions > 1 ? 0.5 : 0,
      future: allowed ? 1 : 0,
    });
    const deviceId = this.#requests.device();
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

  /** What was accepted can be read at its position, whichever node is asked. */
  async #readBack(
    api: RunningProcess,
    id: string,
    positions: readonly { partition: number; position: string }[],
  ): Promise<void> {
    const { telemetry, operators } = this.#world;
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
    for (const { data } of telemetry.ofRequest(id)) {
      const { deviceId, timestamp, metrics, untimed } = data as Reading;
      if (untimed || this.#world.isTouched(deviceId, timestamp)) continue;
      if (operators.discarded.has(`device-${deviceId}`)) continue;
      const points = await this.#points(api, deviceId, timestamp, timestamp + 1);
      for (const [name, value] of Object.entries(metrics))
        check(
          points.some((point) => point.metric === name && point.value === value) ||
            // A retraction may have come since it was asked.
            this.#world.isTouched(deviceId, timestamp),
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
}
