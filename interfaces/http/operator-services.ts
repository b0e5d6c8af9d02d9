import type { Replay, ReplayTasks } from '../../application/operations/operations.ts';

/** What operators do with read models: what is soon done here, what takes long beside the requests. */
export type OperatorServices = {
  readonly replay: Pick<Replay, 'list' | 'setPaused' | 'drop' | 'letters' | 'desk'>;
  readonly tasks: ReplayTasks;
};
