import { deviceIdIn, deviceStream } from '../../domain/device.ts';
import { pause } from '../pause.ts';
import type { LeaseOwner } from '../ports/generations.ts';
import type { GenerationId, ProjectionTables } from '../ports/read-models.ts';
import { type Sweep, sweptAt } from '../ports/retention.ts';
import {
  type ErasingPorts,
  sweepDeleted,
  sweepDevices,
  sweepErased,
  sweepPage,
  trimOrders,
  zeroCounts,
} from './sweep.ts';

/** What has been removed from the live generation is not to come back with the next one. */
export type GenerationSweep = {
  /** Runs `work` while no sweep touches the live generation; `catchUpSweeps` brings the next one to the same state. */
  withoutSweeps<T>(builder: LeaseOwner, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
  /** To be called when `next` has come to where `live` is, `whileStill`; a device's alone when it is named. */
  catchUpSweeps(
    live: GenerationId,
    next: GenerationId,
    signal: AbortSignal,
    deviceId?: string,
  ): Promise<void>;
  /**
   * Dead letters may be retried behind a sweep that would have removed their points: then they go at once, as a rebuild, which
   * applies them in their place and sweeps afterwards, has it. Not before the last of a stream: a correction needs the point.
   */
  afterRetry(stream: string, tables: ProjectionTables): Promise<void>;
  /**
   * Whether the live generation has rollups of removed points: where the log no longer has
   * them, nothing else does.
   */
  hasOrphanRollups(live: GenerationId): Promise<boolean>;
  /** Puts that into the next generation, once it has followed. */
  copyOrphanRollups(live: GenerationId, next: GenerationId, signal: AbortSignal): Promise<void>;
};

const devicesAtOnce = 100;
const tryEveryMilliseconds = 50;
const reportEveryMilliseconds = 1_000;

export function retentionAlongside(ports: ErasingPorts, now: () => number): GenerationSweep {
  const { records, tables } = ports;
  return {
    async withoutSweeps(owner, signal, work) {
      while (!(await records.acquireLease(owner))) {
        signal.throwIfAborted();
        await pause(tryEveryMilliseconds, signal);
      }
      const reports = setInterval(() => {
        void records.acquireLease(owner).catch(() => {
          // A database that is away for a moment ends what needs it, not this.
        });
      }, reportEveryMilliseconds);
      try {
        return await work();
      } finally {
        clearInterval(reports);
        await records.releaseLease(owner);
      }
    },

    async catchUpSweeps(live, next, signal, deviceId) {
      for (const generation of [live, next]) {
        await sweepErased(generation, ports, now, signal);
        await sweepDeleted(generation, ports, now, signal);
      }
      const reached = await settled(live, signal);
      if (!reached) return;
      const momentsOf = (before: number | null) => (id: string) => {
        const target = sweptAt(reached, id);
        return target === null || (before !== null && target <= before) ? undefined : { before, target };
      };
      if (deviceId !== undefined) {
        await sweepDevices(next, [deviceId], momentsOf(null), ports, signal);
        return;
      }
      const own = await records.sweepOf(next);
      if (own && sameMoments(own, reached)) return;
      for (let after = ''; ; ) {
        const devices = await tables.devices(next, after, devicesAtOnce);
        await sweepDevices(next, devices, momentsOf(own?.sweptTo ?? null), ports, signal);
        const last = devices.at(-1);
        if (last === undefined) break;
        after = last;
      }
      await records.saveSweep(next, { ...reached, removed: own?.removed ?? zeroCounts });
    },

    async afterRetry(stream, { expiry }) {
      if (!stream.startsWith(deviceStream(''))) return;
      const deviceId = deviceIdIn(stream);
      const target = await expiry.sweptAt(deviceId);
      if (target === null) return;
      await ports.retention.refresh();
      const known = await ports.directory.find(new Set([deviceId]));
      const kept = ports.retention.forDevice(known.get(deviceId)?.types ?? []);
      for (const order of kept ? trimOrders(deviceId, kept, null, target) : [])
        for (let from: number | null = order.from; from !== null; )
          from = await expiry.trim({ ...order, from });
    },

    hasOrphanRollups: (live) => tables.hasOrphanRollups(live),

    async copyOrphanRollups(live, next, signal) {
      const reached = await records.sweepOf(live);
      if (!reached) return;
      await ports.retention.refresh();
      for (let after = ''; ; ) {
        const devices = await tables.devices(live, after, devicesAtOnce);
        signal.throwIfAborted();
        await carry(live, next, devices, reached);
        const last = devices.at(-1);
        if (last === undefined) return;
        after = last;
      }
    },
  };

  async function carry(live: GenerationId, next: GenerationId, devices: readonly string[], sweep: Sweep) {
    const known = await ports.directory.find(new Set(devices));
    for (const deviceId of devices) {
      const kept = ports.retention.forDevice(known.get(deviceId)?.types ?? []);
      const at = sweptAt(sweep, deviceId);
      if (!kept || at === null) continue;
      const horizonOf = (metric: string) => kept.horizon('points', metric, at);
      await tables.carry(live, next, { deviceId, horizonOf, to: kept.newest('points', at) });
    }
  }

  /** The sweep state of the live generation, after devices of an interrupted sweep are completed. */
  async function settled(live: GenerationId, signal: AbortSignal): Promise<Sweep | undefined> {
    const sweep = await records.sweepOf(live);
    if (!sweep || sweep.target === null) return sweep;
    return sweepPage(live, { ...sweep, target: sweep.target }, ports, now, signal);
  }
}

const sameMoments = (a: Sweep, b: Sweep): boolean =>
  a.sweptTo === b.sweptTo && a.target === b.target && a.after === b.after;
