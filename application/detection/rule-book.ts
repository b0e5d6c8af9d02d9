import {
  type Rule,
  type RuleDefinition,
  type RuleEvent,
  type RuleVersion,
  ruleDecider,
  ruleStream,
  ruleVersions,
} from '../../domain/detection/rule.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type RecordedEvent, streamDeletedType } from '../ports/event-store.ts';
import { type FollowedEvents, heardOfAfterMilliseconds } from './followed-events.ts';
import { ownEvents } from './own-events.ts';

/** A rule as it is now. */
export type StoredRule = {
  readonly ruleId: string;
  readonly revision: number;
  readonly status: Exclude<Rule['status'], 'missing'>;
  readonly definition: RuleDefinition;
  /** Epoch milliseconds: readings that arrive from then on are judged by it as it is now. */
  readonly since: number;
  /** ISO 8601. */
  readonly createdAt: string;
  /** ISO 8601. */
  readonly changedAt: string;
  readonly changedBy: string;
};

/** What judges values without anybody having made a rule, where `DETECTION` is `all`. */
export const builtInRule: RuleVersion = {
  ruleId: 'novelty',
  revision: 0,
  since: Number.NEGATIVE_INFINITY,
  definition: {
    name: 'Value novelty',
    selector: {},
    severity: 'info',
    condition: { kind: 'novel' },
    notify: [],
  },
};

/**
 * Every wording that every rule has had. A change counts for readings that arrive some seconds after it was made, so
 * that whoever judges these knows of it: live, again, and in a rebuild.
 */
export class RuleBook {
  readonly #events: FollowedEvents;
  readonly #registry: EventRegistry;
  readonly #builtIn: readonly RuleVersion[];
  readonly #streams = new Map<string, readonly RecordedEvent[]>();
  #versions: readonly (readonly RuleVersion[])[];
  #period: Period | undefined;

  constructor(events: FollowedEvents, registry: EventRegistry, builtIn: readonly RuleVersion[] = []) {
    this.#events = events;
    this.#registry = registry;
    this.#builtIn = builtIn;
    this.#versions = builtIn.map((version) => [version]);
    events.listen({
      add: (arrived) => this.#add(arrived),
      clear: () => {
        this.#streams.clear();
        this.#add([]);
      },
    });
  }

  /** Whether no rule has ever judged anything, nor will those that there are. */
  get isEmpty(): boolean {
    return this.begins === Number.POSITIVE_INFINITY;
  }

  /** When the first rule began to count, in epoch milliseconds; what arrived before needs no look. */
  get begins(): number {
    const times = this.#versions.flatMap((versions) =>
      versions.flatMap(({ definition, since }) => (definition === null ? [] : [since])),
    );
    return Math.min(Number.POSITIVE_INFINITY, ...times);
  }

  /** Whether a rule selects devices by what they are rather than by their id, now or earlier. */
  get needsAttributes(): boolean {
    return this.#versions.some((versions) =>
      versions.some(({ definition }) => definition?.selector.type ?? definition?.selector.labels),
    );
  }

  /** Learns of every change that counts by now. Throws `EventStoreUnavailable`. */
  refresh(): Promise<void> {
    return this.#events.refresh();
  }

  /** Learns of every change that was recorded, unless `signal` is aborted. Throws `EventStoreUnavailable`. */
  refreshNow(signal?: AbortSignal): Promise<void> {
    return this.#events.settle(signal);
  }

  /** The rules that judge readings arriving at `time`; the same array for as long as they are the same. */
  activeAt(time: number): readonly RuleVersion[] {
    const known = this.#period;
    if (known && time >= known.from && time < known.to) return known.rules;
    const boundaries = this.#versions.flatMap((versions) => versions.map(({ since }) => since));
    const rules = this.#versions.flatMap((versions) => {
      const version = versions.findLast(({ since }) => since <= time);
      return version?.definition ? [version] : [];
    });
    this.#period = {
      from: Math.max(Number.NEGATIVE_INFINITY, ...boundaries.filter((since) => since <= time)),
      to: Math.min(Number.POSITIVE_INFINITY, ...boundaries.filter((since) => since > time)),
      rules,
    };
    return rules;
  }

  /** The rules that changed between two times of arrival, by what they were before. */
  endedBetween(after: number, until: number): readonly RuleVersion[] {
    return this.#versions.flatMap((versions) =>
      versions.slice(1).some(({ since }) => since > after && since <= until)
        ? versions.filter(({ since }) => since <= after).slice(-1)
        : [],
    );
  }

  /** As they are now, those that were removed too, in order of creation. */
  list(): readonly StoredRule[] {
    return [...this.#streams].flatMap(([, events]) => {
      const removed = events.findLastIndex(({ type }) => type === removedType);
      // Behind a removal there is something only where its stream was deleted, and the id is used again.
      return (
        storedRule(removed < events.length - 1 ? events.slice(removed + 1) : events, this.#registry) ?? []
      );
    });
  }

  #add(arrived: readonly RecordedEvent[]): void {
    for (const event of arrived) {
      const before = this.#streams.get(event.stream) ?? [];
      const own = ownEvents([...before, asRemoval(event)], {
        decider: ruleDecider,
        decode: (recorded) => this.#registry.ruleEvent(recorded),
      });
      this.#streams.set(event.stream, own);
    }
    this.#period = undefined;
    this.#versions = [
      ...this.#builtIn.map((version) => [version]),
      ...[...this.#streams.values()].map((events) => ruleVersions(ruleEvents(events, this.#registry))),
    ];
  }
}

const removedType = 'RuleRemoved' satisfies RuleEvent['type'];

/** Whoever deletes a rule's stream in the store removes the rule, from then on. */
function asRemoval(event: RecordedEvent): RecordedEvent {
  if (event.type !== streamDeletedType) return event;
  const ruleId = event.stream.slice(ruleStream('').length);
  const since = Date.parse(event.metadata.recordedAt) + heardOfAfterMilliseconds;
  return { ...event, type: removedType, data: { ruleId, since } };
}

type Period = { readonly from: number; readonly to: number; readonly rules: readonly RuleVersion[] };

const ruleEvents = (events: readonly RecordedEvent[], registry: EventRegistry): readonly RuleEvent[] =>
  events.map((event) => registry.ruleEvent(event));

/** The rule that these events, in order, have made; `undefined` for none. */
export function storedRule(
  events: readonly RecordedEvent[],
  registry: EventRegistry,
): StoredRule | undefined {
  const decoded = ruleEvents(events, registry);
  const rule = decoded.reduce<Rule>(ruleDecider.evolve, ruleDecider.initial);
  const [first, last, version] = [events[0], events.at(-1), ruleVersions(decoded).at(-1)];
  if (rule.status === 'missing' || !first || !last || !version) return undefined;
  return {
    ruleId: version.ruleId,
    revision: last.revision,
    status: rule.status,
    definition: rule.definition,
    since: version.since,
    createdAt: first.metadata.recordedAt,
    changedAt: last.metadata.recordedAt,
    changedBy: last.metadata.actor,
  };
}
