import { comparableId } from '../log-guard.ts';
import { pause } from '../pause.ts';
import {
  comparePositions,
  type EventSource,
  type LogMark,
  type Position,
  type Positioned,
} from '../ports/event-source.ts';
import type { GenerationId, ReadModels } from '../ports/read-models.ts';
import type { RuleBook } from './rule-book.ts';

type IdlePorts = {
  readonly source: Pick<EventSource<Positioned>, 'ends' | 'eventAt' | 'identity'>;
  readonly readModels: Pick<ReadModels, 'checkpoint' | 'transact'>;
  readonly rules: Pick<RuleBook, 'isEmpty' | 'refreshNow'>;
  /** Called once a checkpoint has been moved. */
  readonly onPassed: () => void;
};

const everyMilliseconds = 1000;

/**
 * Moves the checkpoints of detection to the end of the log, without reading it, until there is a rule: a rule counts
 * for readings that arrive after it was made, so that none of those skipped would have been judged. With `isOff` for
 * ever. Resolves once `signal` is aborted or there is a rule.
 */
export async function skipWhileIdle(
  of: GenerationId,
  { source, readModels, rules, onPassed }: IdlePorts,
  isOff: boolean,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    // In this order: a rule made after the ends were read counts for what comes behind them.
    const ends = await source.ends();
    if (!isOff) {
      await rules.refreshNow(signal);
      if (!rules.isEmpty || signal.aborted) return;
    }
    for (const [partition, end] of ends) {
      if (comparePositions(await readModels.checkpoint(of, partition), end) >= 0) continue;
      const mark = end && (await markAt(end, partition, source));
      await readModels.transact(of, partition, async (_, { position }) =>
        comparePositions(position, end) < 0 ? mark : position,
      );
      onPassed();
    }
    await pause(everyMilliseconds, signal);
  }
}

/** As a consumer leaves it, so that another log is noticed once there is a rule. */
async function markAt(position: Position, partition: number, source: IdlePorts['source']): Promise<LogMark> {
  const found = await source.eventAt(partition, position);
  const eventId = typeof found === 'object' ? comparableId(found.id) : null;
  return { position, eventId, log: await source.identity() };
}
