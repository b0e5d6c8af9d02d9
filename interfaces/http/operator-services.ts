import type { Replay } from '../../application/replay/replay.ts';
import type { ReplayTasks } from '../../application/replay/replay-tasks.ts';

/** What operators do with read models: what is soon done here, what takes long beside the requests. */
export type OperatorServices = {
  readonly replay: Pick<Replay, 'list' | 'setPaused' | 'drop' | 'letters' | 'desk'>;
  readonly tasks: ReplayTasks;
};
