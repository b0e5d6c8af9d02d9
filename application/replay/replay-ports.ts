import type { Clock } from '../ports/clock.ts';
import type { DeadLetters } from '../ports/dead-letters.ts';
import type { HistoryGap } from '../ports/history-gap.ts';
import type { ProjectionControl } from '../ports/projection-control.ts';
import type { ReadModels } from '../ports/read-models.ts';

/** What building a generation needs besides the projection itself. */
export type ReplayPorts = {
  readonly control: ProjectionControl;
  readonly readModels: ReadModels;
  readonly letters: DeadLetters;
  readonly gap: HistoryGap;
  readonly clock: Clock;
};
