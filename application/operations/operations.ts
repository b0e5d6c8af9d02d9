import { deviceStream } from '../../domain/device.ts';
import { assertOwnLog } from '../log-guard.ts';
import type { AuditOutcomes, AuditTables } from '../ports/audit.ts';
import { type DeviceDirectory, havingStatus, isRegistered } from '../ports/device-directory.ts';
import { type EventSource, furthest, OperatorNeeded, type PartitionPosition } from '../ports/event-source.ts';
import {
  activeGeneration,
  type GenerationDigest,
  type LeaseOwner,
  type ProjectionState,
  projectionState,
  ReplayRefused,
} from '../ports/generations.ts';
import type { ReadModels } from '../ports/read-models.ts';
import type { TelemetryRecord } from '../ports/telemetry-log.ts';
import { countLag } from '../progress.ts';
import { isProjectionName, type ProjectionName } from '../projections/projection.ts';
import type { Claimed } from '../rebuild/claim.ts';
import type { ProjectionPipeline, RebuildPorts } from '../rebuild/projection-pipeline.ts';
import {
  activate,
  type RebuildOptions,
  type RebuildOutcome,
  type ReplayOptions,
  rebuild,
  rebuildDevice,
} from '../rebuild/rebuild.ts';
import { type AuditQuery, type AuditReport, audit } from './audit.ts';
import { type DeadLetterOperations, deadLetterOperations } from './dead-letters.ts';
import type { RetentionLookup } from './derived-audit.ts';

export type WorkOptions = Omit<ReplayOptions, 'builder'>;

export type ProjectionReport = ProjectionState & {
  /** Of this release's code. */
  readonly codeVersion: number;
  readonly checkpoints: readonly PartitionPosition[];
  /** Events of the log that the active generation has not consumed; `null` while the log is unreachable. */
  readonly lag: number | null;
  /** There may be more than `lag`. */
  readonly lagIsAtLeast: boolean;
};

/** All that operators do with read models and their history. */
export type Operations = {
  readonly deadLetters: RebuildPorts['deadLetters'];
  readonly deadLetterOperations: DeadLetterOperations;
  list(): Promise<readonly ProjectionReport[]>;
  rebuild(name: string, options: Omit<RebuildOptions, 'builder'>): Promise<RebuildOutcome>;
  rebuildDevice(
    name: string,
    deviceId: string,
    options: Omit<RebuildOptions, 'builder'>,
  ): ReturnType<typeof rebuildDevice>;
  /** To the newest generation that waits, or back to the one that was active before. */
  switchTo(which: 'ready' | 'retired', name: string, options: WorkOptions): Promise<RebuildOutcome>;
  setPaused(name: string, paused: boolean): Promise<ProjectionReport>;
  drop(name: string, generation: number): Promise<ProjectionReport>;
  /** Of the active generation when no other is named. */
  digest(name: string, generation?: number): Promise<GenerationDigest>;
  audit(query: AuditQuery, signal: AbortSignal): Promise<AuditReport>;
};

export function operations(
  projections: Readonly<Record<ProjectionName, ProjectionPipeline>>,
  ports: RebuildPorts,
  telemetry: {
    readonly source: EventSource<TelemetryRecord>;
    readonly tables: AuditTables;
    readonly outcomes: AuditOutcomes;
    /** A new one for each audit, for which it may remember what it found. */
    readonly retentionLookup: () => RetentionLookup;
  },
  directory: Pick<DeviceDirectory, 'find'>,
  builder: LeaseOwner,
): Operations {
  const { control, deadLetters, readModels, clock } = ports;
  const report = (state: ProjectionState) => reportOf(state, named(state.projection), readModels);
  return {
    deadLetters,
    deadLetterOperations: deadLetterOperations(touchable, deadLetters, readModels, clock),

    list: async () => Promise.all((await control.states()).map(report)),

    rebuild: (name, options) => rebuild(named(name), ports, { ...options, builder }),

    async rebuildDevice(name, deviceId, options) {
      const pipeline = named(name);
      if (!(await isRegistered(directory, deviceId)))
        throw new ReplayRefused(`Device ${deviceId} is not registered`);
      return rebuildDevice(pipeline, { deviceId, stream: deviceStream(deviceId) }, ports, {
        ...options,
        builder,
      });
    },

    switchTo: (which, name, options) => activate(named(name), which, ports, { ...options, builder }),

    async setPaused(name, paused) {
      await control.setPaused(named(name).name, paused);
      return report(await projectionState(named(name), control));
    },

    async drop(name, generation) {
      await control.drop({ projection: named(name).name, generation }, builder);
      return report(await projectionState(named(name), control));
    },

    async digest(name, generation) {
      const { active, generations } = await projectionState(named(name), control);
      const number = generation ?? active;
      if (!generations.some((one) => one.generation === number))
        throw new ReplayRefused(`${name} has no generation ${number}`);
      return control.digest({ projection: name, generation: number });
    },

    async audit(query, signal) {
      const live = await activeGeneration(projections.telemetry, control);
      await assertOwnLog(live, readModels, projections.telemetry).catch((error) => {
        throw error instanceof OperatorNeeded ? new ReplayRefused(error.message, { cause: error }) : error;
      });
      const options = { group: `audit of ${builder.id}`, signal, now: clock.now() };
      const report = await audit(
        live,
        query,
        {
          ...telemetry,
          retentionOf: telemetry.retentionLookup(),
          goneAmong: (deviceIds) => havingStatus(['erased', 'deleted'], deviceIds, directory),
        },
        options,
      );
      // Only a full audit is recorded: a partial one proves nothing about the rest.
      const { deviceId, from, to, sample } = query;
      if ([deviceId, from, to, sample].every((limit) => limit === undefined))
        await telemetry.outcomes.save({ at: clock.now(), differences: report.differenceCount });
      return report;
    },
  };

  function named(name: string): ProjectionPipeline {
    if (!isProjectionName(name))
      throw new ReplayRefused(
        `There is no projection named ${name}: there are ${Object.keys(projections).join(', ')}`,
      );
    return projections[name];
  }

  /** Code of another version would leave rows in the tables that belong to neither. */
  async function touchable(name: string) {
    const pipeline = named(name);
    const generation = await activeGeneration(pipeline, control);
    if (generation.version === pipeline.version) return { pipeline, generation };
    throw new ReplayRefused(
      `The active generation of ${name} is of version ${generation.version} and this release of ${pipeline.version}: ` +
        'wait until it has switched, or use the release it is of',
    );
  }
}

async function reportOf(
  state: ProjectionState,
  pipeline: ProjectionPipeline,
  readModels: ReadModels,
): Promise<ProjectionReport> {
  const generation = { projection: state.projection, generation: state.active };
  const checkpoints: PartitionPosition[] = [];
  const reached: PartitionPosition[] = [];
  const partitions = await pipeline.ends().catch(() => undefined);
  for (const partition of partitions?.keys() ?? []) {
    const position = await readModels.checkpoint(generation, partition);
    if (position !== null) checkpoints.push({ partition, position });
    const skipped = (await readModels.skipped(generation, partition))?.position ?? null;
    const furthestPosition = furthest(position, skipped);
    if (furthestPosition !== null) reached.push({ partition, position: furthestPosition });
  }
  // The read models' own state is reported even while the log is unreachable.
  const count = partitions ? await countLag(pipeline, reached).catch(() => null) : null;
  const lag = { lag: count?.events ?? null, lagIsAtLeast: count?.isAtLeast ?? false };
  return { ...state, codeVersion: pipeline.version, checkpoints, ...lag };
}

/** A rebuild that runs in the background. */
export type BuildTask = {
  readonly do: 'rebuild' | 'switch' | 'rollback';
  readonly projection: string;
  /** Events a second at most. */
  readonly throttle?: number | undefined;
  /** Of a rebuild: this device only, in place. */
  readonly deviceId?: string | undefined;
  readonly keepOlder?: boolean | undefined;
};

/** Long work beside the requests that ask for it. */
export type ReplayTasks = {
  /** Resolves once the build has started; its progress is in the projection's state. */
  start(task: BuildTask): Promise<Claimed>;
  /** Throws the signal's reason once it is aborted. */
  audit(query: AuditQuery, signal: AbortSignal): Promise<AuditReport>;
  digest(projection: string, generation?: number): Promise<GenerationDigest>;
};
