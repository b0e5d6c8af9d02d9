import type { DeviceCommands } from '../../application/devices/device-commands.ts';
import type { EventSource, Position, Positioned } from '../../application/ports/event-source.ts';
import type { DeviceQueries, ProgressQueries } from '../../application/ports/queries.ts';
import type { RetentionRecords } from '../../application/ports/retention.ts';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { Freshness } from '../../application/progress.ts';
import { type ProjectionName, projectionNames, sourceOf } from '../../application/projections/projection.ts';
import type { IngestTelemetry } from '../../application/telemetry/ingest.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { superviseProjectors } from '../workers/projector-supervisor.ts';
import { openContainer } from './container.ts';
import { supervisedProjections } from './projectors.ts';
import { services as s } from './services.ts';

/** The application without its API, for commands that work on the configured stores directly. */
export type Session = {
  readonly commands: DeviceCommands;
  readonly ingest: IngestTelemetry;
  readonly devices: DeviceQueries;
  readonly progress: ProgressQueries;
  readonly freshness: Freshness;
  readonly retention: RetentionRecords;
  readonly ids: Ids;
  /** Runs the projectors here until they have consumed all that is in the logs now. */
  catchUp(): Promise<void>;
  close(): Promise<void>;
};

const farEnough = 24 * 3600 * 1000;

export async function openSession(config: Config, log: Log): Promise<Session> {
  const container = await openContainer(config, log);
  const [commands, ingest, devices, progress, freshness, retention, ids] = await Promise.all([
    container.getAsync(s.commands),
    container.getAsync(s.ingest),
    container.getAsync(s.deviceQueries),
    container.getAsync(s.progressQueries),
    container.getAsync(s.freshness),
    container.getAsync(s.retentionRecords),
    container.getAsync(s.ids),
  ]);

  return {
    commands,
    ingest,
    devices,
    progress,
    freshness,
    retention,
    ids,
    async catchUp() {
      const stopped = new AbortController();
      const running = superviseProjectors(
        await supervisedProjections(container, projectionNames),
        await container.getAsync(s.control),
        stopped.signal,
        log,
      );
      try {
        for (const name of projectionNames) await freshness.waitFor([name], await endsOf(name), farEnough);
      } finally {
        stopped.abort();
        await running;
      }
    },
    close: () => container.unbindAllAsync(),
  };

  async function endsOf(name: ProjectionName) {
    const source = sourceOf(name);
    const events: EventSource<Positioned> =
      source === 'devices'
        ? await container.getAsync(s.deviceSource)
        : await container.getAsync(s.telemetrySource);
    return [...(await events.ends())]
      .filter((end): end is [number, Position] => end[1] !== null)
      .map(([partition, position]) => ({ source, partition, position }));
  }
}
