import type { Container } from 'inversify';
import { type RetentionStatus, retentionStatus } from '../../application/operations/status.ts';
import { pause } from '../../application/pause.ts';
import { announcedMilliseconds, currentRetention } from '../../application/retention/policy.ts';
import { type ErasingPorts, retentionPreview } from '../../application/retention/sweep.ts';
import { type RetentionSweeper, retentionSweeper } from '../../application/retention/sweeper.ts';
import { leaseOwner } from './process.ts';
import { services as s } from './services.ts';

export async function sweepPorts(container: Container): Promise<ErasingPorts> {
  const [config, records, tables, directory, retention, erased, eraser, eventStore] = await Promise.all([
    container.getAsync(s.config),
    container.getAsync(s.retentionRecords),
    container.getAsync(s.keptTables),
    container.getAsync(s.directory),
    container.getAsync(s.retention),
    container.getAsync(s.erasedDevices),
    container.getAsync(s.eventEraser),
    container.getAsync(s.eventStore),
  ]);
  const mayBeDeleted = config.EVENTSTORE_URL !== undefined;
  return { records, tables, directory, retention, erased, eraser, eventStore, mayBeDeleted };
}

async function sweeperOf(container: Container, doing: string): Promise<RetentionSweeper> {
  const [control, readModels, source, clock, log, ids] = await Promise.all([
    container.getAsync(s.control),
    container.getAsync(s.readModels),
    container.getAsync(s.telemetrySource),
    container.getAsync(s.clock),
    container.getAsync(s.log),
    container.getAsync(s.ids),
  ]);
  const ports = { ...(await sweepPorts(container)), control, readModels, source, clock };
  return retentionSweeper(ports, leaseOwner(doing, ids.uuidV7()), log);
}

/** Announces the configured policy and sweeps expired data until `signal` is aborted. */
export async function runRetention(container: Container, signal: AbortSignal): Promise<void> {
  const [config, clock, log, ids, records, directory, devices] = await Promise.all([
    container.getAsync(s.config),
    container.getAsync(s.clock),
    container.getAsync(s.log),
    container.getAsync(s.ids),
    container.getAsync(s.retentionRecords),
    container.getAsync(s.directory),
    container.getAsync(s.deviceSource),
  ]);
  await announce();
  // A device's retention depends on its type, and on whether it was erased.
  const following = directory.follow(devices, `retention-${ids.uuidV7()}`, signal, (err) =>
    log.error({ err }, 'retention does not follow the event store, will retry'),
  );
  await Promise.all([(await sweeperOf(container, 'retention')).run(signal), following]);

  async function announce(): Promise<void> {
    while (!signal.aborted)
      try {
        const since = clock.now() + announcedMilliseconds;
        if (await records.announce(config.RETENTION, since))
          log.info({ policy: config.RETENTION, since }, 'retention policy announced');
        return;
      } catch (err) {
        log.warn({ err }, 'retention policy not stored, will retry');
        await pause(1000, signal);
      }
  }
}

export type RetentionOperations = {
  status(): Promise<RetentionStatus>;
  /** What the configured policy would remove if it were in force. */
  preview(signal: AbortSignal): Promise<RetentionStatus['removed']>;
  /** Removes what the policy in force lets expire; resolves when nothing is left to remove. */
  sweep(signal: AbortSignal): Promise<RetentionStatus>;
};

export async function retentionOperations(container: Container): Promise<RetentionOperations> {
  const config = await container.getAsync(s.config);
  const ports = await sweepPorts(container);
  const { records } = ports;
  const status = () => retentionStatus(records);
  return {
    status,
    async preview(signal) {
      const clock = await container.getAsync(s.clock);
      const control = await container.getAsync(s.control);
      const schedule = await records.schedule();
      // A policy that was announced a moment ago may not be in force yet.
      const at = Math.max(clock.now(), (schedule.at(-1)?.since ?? 0) + 1);
      const configured = [...schedule, { since: at, policy: config.RETENTION }];
      const preview = currentRetention({ schedule: async () => configured }, clock);
      await preview.refresh();
      const active =
        (await control.states()).find(({ projection }) => projection === 'telemetry')?.active ?? 1;
      const generation = { projection: 'telemetry', generation: active };
      const removed = await retentionPreview(generation, preview, ports, at, signal);
      const { points, '1m': minutes, '1h': hours, '1d': days, trimmed } = removed;
      return { points, minutes, hours, days, trimmed };
    },
    async sweep(signal) {
      await (await sweeperOf(container, 'retention sweep')).once(signal);
      return status();
    },
  };
}
