import { assertOwnLog } from '../log-guard.ts';
import { CheckpointOfAnotherLog } from '../ports/event-source.ts';
import {
  activeGeneration,
  type LeaseOwner,
  type ProjectionControl,
  ReplayRefused,
} from '../ports/generations.ts';
import type { GenerationId } from '../ports/read-models.ts';
import { assertRoomFor } from '../ports/storage.ts';
import { hasAppliedDiscarded } from './dead-letters.ts';
import { hasMissed } from './expired-history.ts';
import type { ProjectionPipeline, RebuildPorts } from './projection-pipeline.ts';

/** While this one looked and before it began, another switched. Nothing was changed. */
export class SwitchedMeanwhile extends ReplayRefused {
  override readonly name = 'SwitchedMeanwhile';

  constructor({ projection, generation }: GenerationId) {
    super(
      `${projection} was switched to generation ${generation} by another process just now: check, then try again`,
    );
  }
}

export type Claimed = GenerationId & { readonly resumed: boolean };

/** Whether a generation has been built from the log as it is now. */
export async function isOfThisLog(
  generation: GenerationId,
  pipeline: ProjectionPipeline,
  { readModels }: RebuildPorts,
): Promise<boolean> {
  try {
    await assertOwnLog(generation, readModels, pipeline);
    return true;
  } catch (error) {
    if (error instanceof CheckpointOfAnotherLog) return false;
    throw error;
  }
}

/** Bytes of a write-ahead log, beside what it is about. */
const mostInLog = 256 * 1024 * 1024;

type ClaimRequest = {
  readonly live: GenerationId;
  readonly pipeline: ProjectionPipeline;
  readonly request: Parameters<ProjectionControl['claim']>[0];
  readonly isOtherLog: boolean;
  /** Of the device that is built alone. */
  readonly stream?: string;
};

/** From here on nobody else can switch; until here somebody may have. */
export async function claimNext(
  { live, pipeline, request, isOtherLog, stream }: ClaimRequest,
  ports: RebuildPorts,
  builder: LeaseOwner,
): Promise<Claimed> {
  const { control, disk, deadLetters, readModels } = ports;
  // One device's rows are few.
  if (disk && request.device === null) {
    const size = (await control.size(live)) ?? 0;
    assertRoomFor(disk, size + Math.min(size, mostInLog), `A rebuild of ${pipeline.name}`);
  }
  let claimed = await control.claim(request, builder);
  const begun = { projection: live.projection, generation: claimed.generation };
  const isAnew =
    claimed.resumed &&
    (!(await isOfThisLog(begun, pipeline, ports)) ||
      (await hasMissed(begun, pipeline, readModels)) ||
      (!isOtherLog && (await hasAppliedDiscarded(live, begun, pipeline, deadLetters, readModels, stream))));
  if (isAnew) {
    await control.drop(begun, builder);
    claimed = await control.claim(request, builder);
  }
  const next = { projection: live.projection, generation: claimed.generation };
  const now = await activeGeneration(pipeline, control);
  if (now.generation === live.generation) return { ...next, resumed: claimed.resumed };
  await control.drop(next, builder);
  throw new SwitchedMeanwhile(now);
}
