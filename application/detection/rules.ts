import {
  type RuleCommand,
  type RuleDefinition,
  type RuleEvent,
  ruleDecider,
  ruleStream,
  unchangedRule,
} from '../../domain/detection/rule.ts';
import type { CommandConditions } from '../devices/device-commands.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { EventStore } from '../ports/event-store.ts';
import type { Clock, Ids } from '../ports/system.ts';
import { heardOfAfterMilliseconds } from './followed-events.ts';
import { type RuleBook, type StoredRule, storedRule } from './rule-book.ts';
import { streamCommands } from './stream-commands.ts';

export type RuleAnswer = { readonly rule: StoredRule; readonly wasReplayed: boolean };

/** Each call throws `EventStoreUnavailable`; those that change a rule also `Rejection` and what commands throw. */
export type Rules = {
  create(ruleId: string, definition: RuleDefinition, conditions: CommandConditions): Promise<RuleAnswer>;
  change(
    ruleId: string,
    changes: Partial<RuleDefinition>,
    conditions: CommandConditions,
  ): Promise<RuleAnswer>;
  /** `enable`, `disable` or `remove`. */
  set(ruleId: string, action: RuleAction, conditions: CommandConditions): Promise<RuleAnswer>;
  find(ruleId: string): Promise<StoredRule | undefined>;
  /** In order of creation, without those that were removed. */
  list(): Promise<readonly StoredRule[]>;
};

export type RuleAction = 'enable' | 'disable' | 'remove';

const commandOf = { enable: 'EnableRule', disable: 'DisableRule', remove: 'RemoveRule' } as const;

export function rules(
  eventStore: EventStore,
  registry: EventRegistry,
  book: RuleBook,
  ids: Ids,
  clock: Clock,
): Rules {
  const aggregate = {
    name: 'Rule',
    decider: ruleDecider,
    streamOf: ruleStream,
    decode: registry.ruleEvent,
    versionOf: ({ type }: RuleEvent) => registry.currentVersion(type),
    unchanged: unchangedRule,
  };
  const commands = streamCommands(aggregate, eventStore, ids, clock);
  // So that whoever judges readings that arrive from then on has heard of it.
  const since = () => clock.now() + heardOfAfterMilliseconds;
  return {
    create: (ruleId, definition, conditions) =>
      handle({ type: 'CreateRule', ruleId, since: since(), definition }, conditions),
    change: (ruleId, changes, conditions) =>
      handle({ type: 'ChangeRule', ruleId, since: since(), changes }, conditions),
    set: (ruleId, action, conditions) =>
      handle({ type: commandOf[action], ruleId, since: since() }, conditions),
    find: async (ruleId) => storedRule(await commands.read(ruleId), registry),
    async list() {
      await book.refreshNow();
      return book.list().filter(({ status }) => status !== 'removed');
    },
  };

  async function handle(command: RuleCommand, conditions: CommandConditions): Promise<RuleAnswer> {
    const { events, wasReplayed } = await commands.handle(command.ruleId, command, conditions);
    const rule = storedRule(events, registry);
    if (!rule) throw new Error(`Rule ${command.ruleId} has an empty stream after a command`);
    return { rule, wasReplayed };
  }
}
