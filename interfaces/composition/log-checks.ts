import { existsSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Container } from 'inversify';
import { assertOwnLog } from '../../application/log-guard.ts';
import { pause } from '../../application/pause.ts';
import { OperatorNeeded, type SourceName } from '../../application/ports/event-source.ts';
import type { ProjectionControl, ProjectionState } from '../../application/ports/generations.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import { type ProjectionName, sourceOf, versionOf } from '../../application/projections/projection.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import type { Dependency } from '../../infrastructure/metrics/process-metrics.ts';
import { sqlProgressQueries } from '../../infrastructure/sql/progress-queries.ts';
import type { SqlQueries } from '../../infrastructure/sql/sql.ts';
import { dataFiles } from '../../infrastructure/sqlite/database-file.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import { openTelemetryFile } from './embedded.ts';
import { pipelineOf } from './projectors.ts';
import { services as s } from './services.ts';

/** Whether the active generations have consumed anything of a log. */
export async function hasConsumed(db: SqlQueries, source: SourceName): Promise<boolean> {
  const progress = await sqlProgressQueries(db).progress();
  return progress.some(
    ({ projection, checkpoints }) => sourceOf(projection) === source && checkpoints.length > 0,
  );
}

/**
 * Throws a `StartupError` where a log's file is missing that the read models were made from, or events of the devices that
 * readings are of: none is made in its place.
 */
export async function requireLogFiles(config: Config, db: SqlQueries): Promise<void> {
  const files = dataFiles(config.DATA_DIR);
  const embedded = [
    ...(config.EVENTSTORE_URL === undefined ? ([['devices', files.events]] as const) : []),
    ...(config.KAFKA_BROKERS === undefined ? ([['telemetry', files.telemetry]] as const) : []),
  ];
  const readModels =
    config.MYSQL_URL === undefined
      ? `remove ${files.readModels} as well`
      : 'empty the database of MYSQL_URL as well';
  for (const [source, file] of embedded)
    if (isNothing(file) && (await hasConsumed(db, source)))
      throw new StartupError(
        `${file} is ${existsSync(file) ? 'empty' : 'missing'}, although the read models were made from it: put back ${basename(file)}, or, to begin with ` +
          `an empty one, ${readModels}`,
      );
  if (embedded.length === 2 && isNothing(files.events) && (await hasReadings(config)))
    throw new StartupError(
      `${files.events} is ${existsSync(files.events) ? 'empty' : 'missing'}, although telemetry.db has readings of its devices: put back events.db, or, to begin with ` +
        'an empty store, remove telemetry.db as well',
    );
}

const isNothing = (file: string): boolean => (statSync(file, { throwIfNoEntry: false })?.size ?? 0) === 0;

async function hasReadings(config: Config): Promise<boolean> {
  if (isNothing(dataFiles(config.DATA_DIR).telemetry)) return false;
  const source = openTelemetryFile(config);
  try {
    return [...(await source.ends()).values()].some((end) => end !== null);
  } finally {
    await source.close();
  }
}

/**
 * Compares each log with the checkpoints of the projections over it, before anything is consumed. Returns a line for
 * each projection that does not continue; a log that does not answer is compared when it does.
 */
export async function compareLogs(
  container: Container,
  names: readonly ProjectionName[],
): Promise<readonly string[]> {
  const [control, readModels, log] = await Promise.all([
    container.getAsync(s.control),
    container.getAsync(s.readModels),
    container.getAsync(s.log),
  ]);
  const states = await control.states();
  const lines = await Promise.all(
    states.map(async (state) => {
      const name = names.find((one) => one === state.projection);
      if (!name) return [];
      const of = { projection: name, generation: state.active };
      const reason = await assertOwnLog(of, readModels, await pipelineOf(container, name)).then(
        () => null,
        (error) => {
          if (error instanceof OperatorNeeded) return error.message;
          log.debug({ projection: name, err: error }, 'log not compared yet');
          return undefined;
        },
      );
      if (reason !== undefined && reason !== state.refused) await control.setRefused(name, reason);
      return refusalOf({ ...state, refused: reason ?? null }) ?? [];
    }),
  );
  return lines.flat();
}

const statesWithin = 1_500;

/** Fails while one of the projections does not continue; that the database is away is for others to say. */
export const projectionsCheck = (
  control: Pick<ProjectionControl, 'states'>,
  names: readonly ProjectionName[],
): Dependency => ({
  name: 'projections',
  async check() {
    const answered = new AbortController();
    const states = await Promise.race([control.states(), pause(statesWithin, answered.signal)])
      .catch((error) => {
        if (!(error instanceof ReadModelsUnavailable)) throw error;
      })
      .finally(() => answered.abort());
    const reasons = (states ?? [])
      .filter(({ projection }) => names.some((name) => name === projection))
      .flatMap((state) => refusalOf(state) ?? []);
    if (reasons.length > 0) throw new ProjectionsRefused(reasons.join('; '));
  },
});

class ProjectionsRefused extends Error {
  get reason(): string {
    return this.message;
  }
}

/** Why a projection does not continue and what to do. */
function refusalOf({ projection, active, generations, refused }: ProjectionState): string | undefined {
  if (refused !== null) return refused;
  const generation = generations.find((one) => one.generation === active);
  const version = versionOf(projection as ProjectionName);
  if (!generation || generation.version <= version) return undefined;
  return (
    `${projection} does not continue: its tables are of version ${generation.version} of its code, and this release ` +
    `has version ${version}. Start the newer release again, or go back to the tables of this one: ` +
    `\`fieldlog projections rollback ${projection}\``
  );
}
