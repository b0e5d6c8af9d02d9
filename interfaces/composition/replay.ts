import type { Container } from 'inversify';
import { type Replay, replay } from '../../application/operations/operations.ts';
import type { Log } from '../../application/ports/system.ts';
import { type ProjectionName, projectionNames } from '../../application/projections/projection.ts';
import type { Rebuildable } from '../../application/rebuild/projection-pipeline.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { builder } from './builder.ts';
import { openContainer } from './container.ts';
import { rebuildable, replayPorts } from './projectors.ts';
import { services as s } from './services.ts';

/** What operators do, done by this process; `doing` is what another operator is told of it. */
export async function replayOf(container: Container, doing: string): Promise<Replay> {
  const projections = await Promise.all(
    projectionNames.map(async (name) => [name, await rebuildable(container, name)] as const),
  );
  const [ids, source, tables, outcomes, directory] = await Promise.all([
    container.getAsync(s.ids),
    container.getAsync(s.telemetrySource),
    container.getAsync(s.auditTables),
    container.getAsync(s.auditOutcomes),
    container.getAsync(s.directory),
  ]);
  return replay(
    Object.fromEntries(projections) as Record<ProjectionName, Rebuildable>,
    await replayPorts(container),
    { source, tables, outcomes },
    directory,
    builder(doing, ids.fresh()),
  );
}

/** The same on the configured stores, for commands that need no server. */
export async function openReplay(
  config: Config,
  log: Log,
  doing: string,
): Promise<Replay & { close(): Promise<void> }> {
  const container = await openContainer(config, log);
  return { ...(await replayOf(container, doing)), close: () => container.unbindAllAsync() };
}
