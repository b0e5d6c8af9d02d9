import { assertOwnLog } from '../log-guard.ts';
import { OperatorNeeded } from '../ports/event-source.ts';
import { activeGeneration, type GenerationState, projectionState } from '../ports/generations.ts';
import type { GenerationId } from '../ports/read-models.ts';
import { losses } from './comparison.ts';
import type { ProjectionPipeline, RebuildPorts } from './projection-pipeline.ts';
import { type RebuildOutcome, type ReplayOptions, rebuildFrom } from './rebuild.ts';

/**
 * Builds the generation of this release's version unless there is one, which `undefined` says. What the log no longer
 * has is carried over from the live generation, which no worker of this release consumes into. Nobody has asked for it,
 * so it throws `OperatorNeeded` instead of switching to fewer rows or to what another log holds.
 */
export async function upgrade(
  pipeline: ProjectionPipeline,
  ports: RebuildPorts,
  options: ReplayOptions,
): Promise<RebuildOutcome | undefined> {
  const live = await activeGeneration(pipeline, ports.control);
  if (live.version >= pipeline.version) return undefined;
  await assertOwnLog(live, ports.readModels, pipeline);
  const { generations } = await projectionState(pipeline, ports.control);
  const built = generations.find(({ status, version }) => status === 'ready' && version === pipeline.version);
  if (built) throw new OperatorNeeded(keptBack(live, built, lossesIn(built)));
  const outcome = await rebuildFrom(live, pipeline, ports, { ...options, keepOlder: true }, 'alone');
  if (!outcome.switched) throw new OperatorNeeded(keptBack(live, outcome, losses(outcome.comparison)));
  return outcome;
}

const lossesIn = ({ outcome }: GenerationState): readonly string[] =>
  outcome?.result === 'kept' ? losses(outcome.comparison) : [];

const keptBack = ({ projection, generation }: GenerationId, next: GenerationId, lost: readonly string[]) =>
  `${projection} stays at generation ${generation}, since generation ${next.generation}, built by this release, has ` +
  `fewer rows (${lost.join(', ')}). Take it with \`fieldlog projections switch ${projection}\`, or go back to the ` +
  'release before';
