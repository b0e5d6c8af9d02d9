import type { Container } from 'inversify';
import { pause } from '../../application/pause.ts';
import { announcedMilliseconds } from '../../application/retention/current-retention.ts';
import { type Keeper, keeper } from '../../application/retention/keeper.ts';
import type { SweepPorts } from '../../application/retention/sweeping.ts';
import { builder } from './builder.ts';
import { services as s } from './services.ts';

export async function sweepPorts(container: Container): Promise<SweepPorts> {
  const [records, tables, directory, retention] = await Promise.all([
    container.getAsync(s.retentionRecords),
    container.getAsync(s.keptTables),
    container.getAsync(s.directory),
    container.getAsync(s.retention),
  ]);
  return { records, tables, directory, retention };
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
  // A policy that speaks of types has to hear of a device that is given another.
  const following = config.RETENTION.some(({ type }) => type !== undefined)
    ? directory.follow(devices, `retention-${ids.fresh()}`, signal)
    : undefined;
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
