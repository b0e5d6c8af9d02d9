import type { Decider } from '../../domain/decider.ts';
import {
  type CommandConditions,
  canonicalJson,
  IdempotencyKeyReused,
  StaleRevision,
} from '../devices/device-commands.ts';
import {
  type EventStore,
  type NewEvent,
  type RecordedEvent,
  RevisionConflict,
  StreamDeleted,
} from '../ports/event-store.ts';
import type { Clock, Ids } from '../ports/system.ts';
import { ownEvents } from './own-events.ts';

/** An aggregate and how its events are stored. */
type StoredAggregate<State, Command, Event> = {
  /** What a person calls it, for messages. */
  readonly name: string;
  readonly decider: Decider<State, Command, Event>;
  readonly streamOf: (id: string) => string;
  readonly decode: (recorded: RecordedEvent) => Event;
  readonly versionOf: (event: Event) => number;
  /**
   * What a command with an idempotency key leaves when it changes nothing, so that a late repeat is known. Nothing
   * where no repeat could change anything.
   */
  readonly unchanged?: (command: Command, state: State) => readonly Event[];
};

/** The aggregate's events right after the command, and whether it was handled before, under its idempotency key. */
type HandledCommand = { readonly events: readonly RecordedEvent[]; readonly wasReplayed: boolean };

/** Handles the commands of one aggregate. */
type StreamCommands<Command> = {
  /**
   * Load, fold, decide, append; again when another writer got there first and the caller named no revision. Throws
   * `Rejection`, `StaleRevision`, `IdempotencyKeyReused`, `RevisionConflict`, `EventStoreUnavailable`, `StreamDeleted`.
   */
  handle(id: string, command: Command, conditions: CommandConditions): Promise<HandledCommand>;
  /** The aggregate's events; none when its stream was deleted. Throws `EventStoreUnavailable`. */
  read(id: string): Promise<readonly RecordedEvent[]>;
};

const attempts = 8;

export function streamCommands<
  State,
  Command,
  Event extends { readonly type: string; readonly data: unknown },
>(
  {
    name,
    decider,
    streamOf,
    decode,
    versionOf,
    unchanged = () => [],
  }: StoredAggregate<State, Command, Event>,
  eventStore: EventStore,
  ids: Ids,
  clock: Clock,
): StreamCommands<Command> {
  return {
    handle,
    read: async (id) => own(await eventStore.read(streamOf(id)).catch(deletedAsNone)),
  };

  function own(history: readonly RecordedEvent[]): readonly RecordedEvent[] {
    return ownEvents(history, { decider, decode });
  }

  async function handle(
    id: string,
    command: Command,
    conditions: CommandConditions,
  ): Promise<HandledCommand> {
    const { idempotencyKey, expectedRevision, actor } = conditions;
    const stream = streamOf(id);
    const commandId = idempotencyKey === undefined ? ids.uuidV7() : ids.uuidV5(stream, actor, idempotencyKey);
    const digest = idempotencyKey === undefined ? undefined : ids.digest(repeatable(command));
    for (let attempt = 1; ; attempt += 1) {
      const history = await eventStore.read(stream);
      const last = history.findLastIndex(({ metadata }) => metadata.$causationId === commandId);
      if (last !== -1) {
        if (history[last]?.metadata.commandDigest !== digest) throw new IdempotencyKeyReused();
        return { events: own(history.slice(0, last + 1)), wasReplayed: true };
      }
      const revision = history.at(-1)?.revision;
      if (expectedRevision !== undefined && revision !== undefined && revision !== expectedRevision)
        throw new StaleRevision(id, expectedRevision, revision, name);
      const before = own(history);
      const state = before.map(decode).reduce(decider.evolve, decider.initial);
      const decided = decider.decide(command, state);
      const events = decided.length === 0 && digest !== undefined ? unchanged(command, state) : decided;
      if (events.length === 0) return { events: before, wasReplayed: false };
      try {
        const recorded = events.map((event, i) => newEvent(event, i, commandId, digest, conditions));
        const appended = await eventStore.append(stream, recorded, revision ?? 'none');
        return { events: [...before, ...appended], wasReplayed: false };
      } catch (error) {
        if (!(error instanceof RevisionConflict) || attempt === attempts) throw error;
      }
    }
  }

  function newEvent(
    event: Event,
    index: number,
    commandId: string,
    digest: string | undefined,
    { correlationId, actor, traceparent }: CommandConditions,
  ): NewEvent {
    return {
      id: ids.uuidV5(commandId, index),
      type: event.type,
      data: event.data,
      metadata: {
        $correlationId: correlationId,
        $causationId: commandId,
        actor,
        recordedAt: new Date(clock.now()).toISOString(),
        schemaVersion: versionOf(event),
        ...(digest !== undefined && { commandDigest: digest }),
        ...(traceparent !== undefined && { traceparent }),
      },
    };
  }
}

/** The command as JSON, without the moment from which it counts: a repeated request is the same command. */
const repeatable = (command: unknown): string => canonicalJson({ ...(command as object), since: undefined });

function deletedAsNone(error: unknown): readonly RecordedEvent[] {
  if (error instanceof StreamDeleted) return [];
  throw error;
}
