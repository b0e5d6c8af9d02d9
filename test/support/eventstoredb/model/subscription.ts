import { countOf, type Entry, isRun, type LogPosition, type StoredEvent } from './events.ts';
import type { TransactionLog } from './log.ts';

export type EventFilter = {
  /** What is looked at: a name that starts with one of the prefixes, or matches the expression, is wanted. */
  readonly on: 'stream' | 'type';
  readonly prefixes: readonly string[];
  readonly regex?: string;
  /** How many events the server looks at in one go. */
  readonly window: number;
  /** After how many events that it looked at it says how far it is. */
  readonly checkpointInterval: number;
};

export type SubscriptionItem =
  | { readonly event: StoredEvent }
  | { readonly checkpoint: LogPosition }
  | 'caught-up'
  /** Nothing to say until the log has grown. */
  | 'waiting';

export type SubscriptionStart = LogPosition | 'start' | 'end';

/**
 * What a subscription to `$all` is sent, in order. It begins behind the position that it names; beyond the end of the
 * log that is the next event, wherever it lies.
 *
 * `count` says how much of the log the node has by now; `onConsidered` gets how many events were looked at.
 */
export function* subscription(
  log: TransactionLog,
  start: SubscriptionStart,
  filter: EventFilter | undefined,
  count: () => number,
  onConsidered: (events: number) => void = () => undefined,
): Generator<SubscriptionItem, never, void> {
  let next = firstNumber(log, start, count());
  const isWanted = wanted(filter);
  let considered = 0;
  const isDue = () => {
    if (!filter || considered < filter.checkpointInterval) return false;
    considered %= filter.checkpointInterval;
    return true;
  };

  // History, a page at a time. A page without an event of interest is reported by where it began.
  while (start !== 'end') {
    const page = pageFrom(log, next, count(), filter?.window ?? 32, isWanted);
    for (const event of page.events) yield { event };
    considered += page.considered;
    onConsidered(page.considered);
    const began = boundaryBefore(log, next);
    next = page.next;
    if (page.isLast) break;
    if (isDue()) yield { checkpoint: page.events.at(-1)?.position ?? began };
  }
  yield 'caught-up';

  for (;;) {
    next = log.next(next);
    const event = next < count() ? log.at(next) : undefined;
    if (!event) {
      yield 'waiting';
      continue;
    }
    next += 1;
    considered += 1;
    onConsidered(1);
    if (isWanted(event)) yield { event };
    if (isDue()) yield { checkpoint: event.position };
  }
}

function firstNumber(log: TransactionLog, start: SubscriptionStart, count: number): number {
  if (start === 'start') return 0;
  return start === 'end' ? count : log.numberAfter(start);
}

function pageFrom(
  log: TransactionLog,
  from: number,
  count: number,
  window: number,
  isWanted: (candidate: Candidate) => boolean,
) {
  const events: StoredEvent[] = [];
  let next = log.next(from);
  let considered = 0;
  while (considered < window && next < count) {
    const entry = log.entryAt(next) as Entry;
    const inEntry = Math.min(entry.number + countOf(entry), count, next + window - considered) - next;
    const candidate = isRun(entry) ? { stream: entry.stream, type: entry.template.type } : entry;
    if (isWanted(candidate))
      for (let index = 0; index < inEntry; index += 1) events.push(log.at(next + index) as StoredEvent);
    considered += inEntry;
    next = log.next(next + inEntry);
  }
  return { events, considered, next, isLast: considered < window };
}

type Candidate = { readonly stream: string; readonly type: string };

function wanted(filter: EventFilter | undefined): (candidate: Candidate) => boolean {
  if (!filter) return () => true;
  const { on, prefixes, regex } = filter;
  if (prefixes.length > 0) return (candidate) => prefixes.some((prefix) => candidate[on].startsWith(prefix));
  const expression = new RegExp(regex ?? '');
  return (candidate) => expression.test(candidate[on]);
}

/** Where the record of a number begins. */
function boundaryBefore(log: TransactionLog, number: number): LogPosition {
  const next = log.at(log.next(number));
  return { commit: next ? next.position.commit : log.end, prepare: 0n };
}
