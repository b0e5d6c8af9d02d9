import {
  type Hook,
  type HookChanges,
  type HookCommand,
  type HookDefinition,
  type HookEvent,
  hookDecider,
  hookStream,
} from '../../domain/detection/hook.ts';
import type { CommandConditions } from '../devices/device-commands.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { EventStore, RecordedEvent } from '../ports/event-store.ts';
import type { Clock, Ids } from '../ports/system.ts';
import type { FollowedEvents } from './followed-events.ts';
import { ownEvents } from './own-events.ts';
import { streamCommands } from './stream-commands.ts';

/** A hook as it is now. */
export type StoredHook = {
  readonly hookId: string;
  readonly revision: number;
  readonly status: Exclude<Hook['status'], 'missing'>;
  readonly definition: HookDefinition;
  /** ISO 8601. */
  readonly createdAt: string;
  /** ISO 8601. */
  readonly changedAt: string;
  readonly changedBy: string;
};

export type HookAction = 'enable' | 'disable' | 'remove';

/** Each call throws `EventStoreUnavailable`; those that change a hook also `Rejection` and what commands throw. */
export type Hooks = {
  /** The secret is made when absent. */
  create(
    hookId: string,
    definition: Partial<HookDefinition> & Pick<HookDefinition, 'url'>,
    conditions: CommandConditions,
  ): Promise<StoredHook>;
  change(hookId: string, changes: HookChanges, conditions: CommandConditions): Promise<StoredHook>;
  set(hookId: string, action: HookAction, conditions: CommandConditions): Promise<StoredHook>;
  find(hookId: string): Promise<StoredHook | undefined>;
  /** In order of creation, without those that were removed. */
  list(): Promise<readonly StoredHook[]>;
};

const commandOf = { enable: 'EnableHook', disable: 'DisableHook', remove: 'RemoveHook' } as const;

export function hooks(
  eventStore: EventStore,
  registry: EventRegistry,
  followed: FollowedEvents,
  ids: Ids,
  clock: Clock,
  newSecret: () => string,
): Hooks {
  const aggregate = {
    name: 'Hook',
    decider: hookDecider,
    streamOf: hookStream,
    decode: registry.hookEvent,
    versionOf: ({ type }: HookEvent) => registry.currentVersion(type),
  };
  const commands = streamCommands(aggregate, eventStore, ids, clock);
  const streams = new Map<string, readonly RecordedEvent[]>();
  followed.listen({
    add(arrived) {
      for (const event of arrived) {
        const before = streams.get(event.stream) ?? [];
        streams.set(event.stream, ownEvents([...before, event], aggregate));
      }
    },
    clear: () => streams.clear(),
  });
  return {
    create: (hookId, definition, conditions) =>
      handle(
        {
          type: 'CreateHook',
          hookId,
          definition: { ...definition, secret: definition.secret ?? newSecret() },
        },
        conditions,
      ),
    change: (hookId, changes, conditions) => handle({ type: 'ChangeHook', hookId, changes }, conditions),
    set: (hookId, action, conditions) => handle({ type: commandOf[action], hookId }, conditions),
    find: async (hookId) => storedHook(hookId, await commands.read(hookId)),
    async list() {
      await followed.settle();
      const found = [...streams].flatMap(
        ([stream, events]) => storedHook(stream.slice(hookStream('').length), events) ?? [],
      );
      return found.filter(({ status }) => status !== 'removed');
    },
  };

  async function handle(command: HookCommand, conditions: CommandConditions): Promise<StoredHook> {
    const { events } = await commands.handle(command.hookId, command, conditions);
    const hook = storedHook(command.hookId, events);
    if (!hook) throw new Error(`Hook ${command.hookId} has an empty stream after a command`);
    return hook;
  }

  function storedHook(hookId: string, events: readonly RecordedEvent[]): StoredHook | undefined {
    const hook = events.map(registry.hookEvent).reduce<Hook>(hookDecider.evolve, hookDecider.initial);
    const [first, last] = [events[0], events.at(-1)];
    if (hook.status === 'missing' || !first || !last) return undefined;
    return {
      hookId,
      revision: last.revision,
      status: hook.status,
      definition: hook.definition,
      createdAt: first.metadata.recordedAt,
      changedAt: last.metadata.recordedAt,
      changedBy: last.metadata.actor,
    };
  }
}
