import type { Container } from 'inversify';
import { pause } from '../../application/pause.ts';
import { announcedMilliseconds } from '../../application/retention/policy.ts';
import type { ErasingPorts } from '../../application/retention/sweep.ts';
import { type Keeper, keeper } from '../../application/retention/sweeper.ts';
import { builder } from './builder.ts';
import { services as s } from './services.ts';

export async function sweepPorts(container: Container): Promise<ErasingPorts> {
  const [records, tables, directory, retention, erased] = await Promise.all([
    container.getAsync(s.retentionRecords),
    container.getAsync(s.keptTables),
    container.getAsync(s.directory),
    container.getAsync(s.retention),
    container.getAsync(s.erasedDevices),
  ]);
  return { records, tables, directory, retention, erased };
}

export async function keeperOf(container: Container, doing: string): Promise<Keeper> {
  const [control, readModels, source, clock, log, ids] = await Promise.all([
    container.getAsync(s.control),
    container.getAsync(s.readModels),
    container.getAsync(s.telemetrySource),
    container.getAsync(s.clock),
    container.getAsync(s.log),
    container.getAsync(s.ids),
  ]);
  const ports = { ...(await sweepPorts(container)), control, readModels, source, clock };
  return keeper(ports, builder(doing, ids.fresh()), log);
}

/** Brings the configured policy into force and has what is no longer kept removed, until `signal` is aborted. */
export async function keepRetention(container: Container, signal: AbortSignal): Promise<void> {
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
  // What is kept of a device depends on its type, and on whether it was erased.
  const following = directory.follow(devices, `retention-${ids.fresh()}`, signal);
  await Promise.all([(await keeperOf(container, 'retention')).run(signal), following]);

  async function announce(): Promise<void> {
    while (!signal.aborted)
      try {
        const since = clock.now() + announcedMilliseconds;
        if (await records.announce(config.RETENTION, since))
          log.info({ policy: config.RETENTION, since }, 'a new retention policy comes into force');
        return;
      } catch (err) {
        log.warn({ err }, 'the retention policy cannot be put on record yet');
        await pause(1000, signal);
      }
  }
}
