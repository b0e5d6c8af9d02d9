import type { Evaluator, Transition } from '../../domain/detection/evaluators.ts';
import type { RuleDefinition, RuleVersion } from '../../domain/detection/rule.ts';
import type { Reading } from '../../domain/telemetry.ts';
import type { AlarmRow, DetectionTotals } from '../ports/detection.ts';
import { comparePositions, type Position } from '../ports/event-source.ts';
import type { AlarmChanges, Cause } from './alarm-changes.ts';

/** A rule that is enabled. */
export type ActiveRule = RuleVersion & { readonly definition: RuleDefinition };

/** One series as one rule sees it. */
export type Series = {
  readonly deviceId: string;
  readonly rule: ActiveRule;
  readonly isSilence: boolean;
  readonly metric: string;
  readonly evaluator: Evaluator;
  /** The newest device time. */
  newest: number;
  alarm: AlarmRow | undefined;
  isChanged: boolean;
};

/** A rule about a metric of a device, with what it has seen of it. */
export type Slot = {
  readonly rule: ActiveRule;
  readonly isSilence: boolean;
  readonly metric: string;
  series: Series | undefined;
  newcomer: Newcomer | undefined;
};

/** What the log says of a reading. */
export type ArrivalCause = Cause & { readonly receivedAt: number };

/** A series that is watched once it is its turn, with what has come of it. */
export type Newcomer = {
  readonly slot: Slot;
  readonly values: number[];
  readonly readings: Reading[];
  readonly arrivals: ArrivalCause[];
  /** Begins to watch it, if there is room. */
  readonly admit: (newcomer: Newcomer, batch: BatchOfJudgements) => void;
};

/** What the judgements of a batch add to. */
export type BatchOfJudgements = {
  readonly totals: { -readonly [Name in keyof DetectionTotals]: DetectionTotals[Name] };
  readonly maxSeries: number;
  readonly changes: AlarmChanges;
};

type Waiting = { judgeWaiting(batch: BatchOfJudgements, newcomers: Newcomer[]): void };

/**
 * Judges what waits for these devices, those of one device together, whose evaluators are then in the processor's cache.
 * Series are taken in the order in which their first readings came, whatever the batches are.
 */
export function judgeTogether(devices: readonly Waiting[], batch: BatchOfJudgements): void {
  const newcomers: Newcomer[] = [];
  for (const device of devices) device.judgeWaiting(batch, newcomers);
  const room = batch.maxSeries - batch.totals.series;
  if (room > 0 && room < newcomers.length) newcomers.sort((a, b) => comparePositions(firstOf(a), firstOf(b)));
  for (const newcomer of newcomers) newcomer.admit(newcomer, batch);
}

const firstOf = ({ arrivals }: Newcomer): Position | null => arrivals[0]?.position ?? null;

/** Judges a value that is newer than all of its series before. */
export function judgeValue(
  series: Series,
  value: number,
  { timestamp }: Reading,
  arrival: ArrivalCause,
  { totals, changes }: BatchOfJudgements,
): void {
  if (timestamp > series.newest) series.newest = timestamp;
  else if (!series.isSilence) {
    totals.outOfOrder += 1;
    return;
  }
  totals.points += 1;
  series.isChanged = true;
  const { receivedAt } = arrival;
  const transitions = series.evaluator.next({ timestamp, receivedAt, value });
  if (transitions.length > 0) changeAlarm(series, transitions, arrival, changes);
}

export function changeAlarm(
  series: Series,
  transitions: readonly Transition[],
  cause: Cause,
  changes: AlarmChanges,
): void {
  for (const transition of transitions) {
    if (transition.change === 'raised') series.alarm = changes.raise(series, transition, cause);
    else if (series.alarm && transition.change === 'escalated')
      series.alarm = changes.escalate(series.alarm, transition, cause);
    else if (series.alarm) {
      changes.clear(series.alarm, transition, cause);
      series.alarm = undefined;
    }
  }
}
