import { type LiveQueryParameters, liveQueryDecider, liveQueryStream } from '../../domain/live-query.ts';
import type { FollowedEvents } from '../detection/followed-events.ts';
import { ownEvents } from '../detection/own-events.ts';
import { streamCommands } from '../detection/stream-commands.ts';
import type { CommandConditions } from '../devices/device-commands.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type EventStore, type RecordedEvent, streamDeletedType } from '../ports/event-store.ts';
import type { Clock, Ids } from '../ports/system.ts';

/** A live query as it is now. */
export type SavedQuery = {
  readonly name: string;
  readonly parameters: LiveQueryParameters;
  readonly revision: number;
  /** ISO 8601. */
  readonly savedAt: string;
  readonly savedBy: string;
};

/** Each call throws `EventStoreUnavailable`; those that change a query also `Rejection` and what commands throw. */
export type SavedQueries = {
  save(name: string, parameters: LiveQueryParameters, conditions: CommandConditions): Promise<SavedQuery>;
  remove(name: string, conditions: CommandConditions): Promise<void>;
  find(name: string): Promise<SavedQuery | undefined>;
  /** By name. */
  list(): Promise<readonly SavedQuery[]>;
};

export function savedQueries(
  eventStore: EventStore,
  registry: EventRegistry,
  followed: FollowedEvents,
  ids: Ids,
  clock: Clock,
): SavedQueries {
  const aggregate = {
    name: 'Live query',
    decider: liveQueryDecider,
    streamOf: liveQueryStream,
    decode: registry.liveQueryEvent,
    versionOf: ({ type }: { readonly type: 'LiveQuerySaved' | 'LiveQueryRemoved' }) =>
      registry.currentVersion(type),
  };
  const commands = streamCommands(aggregate, eventStore, ids, clock);
  const last = new Map<string, RecordedEvent>();
  followed.listen({
    add(arrived) {
      for (const event of arrived)
        if (ownEvents([event], aggregate).length > 0) last.set(event.stream, event);
        else if (event.type === streamDeletedType) last.delete(event.stream);
    },
    clear: () => last.clear(),
  });
  return {
    async save(name, parameters, conditions) {
      const { events } = await commands.handle(name, { type: 'SaveLiveQuery', name, parameters }, conditions);
      const saved = savedQuery(events.at(-1));
      if (!saved) throw new Error(`Live query ${name} is not there after it was saved`);
      return saved;
    },
    async remove(name, conditions) {
      await commands.handle(name, { type: 'RemoveLiveQuery', name }, conditions);
    },
    find: async (name) => savedQuery((await commands.read(name)).at(-1)),
    async list() {
      await followed.settle();
      return [...last.values()]
        .flatMap((event) => savedQuery(event) ?? [])
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    },
  };

  /** The last event of a stream says all. */
  function savedQuery(recorded: RecordedEvent | undefined): SavedQuery | undefined {
    const event = recorded && registry.liveQueryEvent(recorded);
    if (!recorded || event?.type !== 'LiveQuerySaved') return undefined;
    const { recordedAt: savedAt, actor: savedBy } = recorded.metadata;
    return { ...event.data, revision: recorded.revision, savedAt, savedBy };
  }
}
