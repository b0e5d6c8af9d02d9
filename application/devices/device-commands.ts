import {
  type Device,
  type DeviceCommand,
  type DeviceEvent,
  deviceDecider,
  deviceStream,
} from '../../domain/device.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import type { Position } from '../ports/event-source.ts';
import {
  type EventEraser,
  type EventStore,
  type NewEvent,
  type RecordedEvent,
  RevisionConflict,
} from '../ports/event-store.ts';
import type { DeviceRow } from '../ports/read-models.ts';
import type { Clock, Ids } from '../ports/system.ts';
import {
  type DiscardedEvents,
  deviceRowOf,
  foldState,
  type LoadedDevice,
  lastPosition,
  loadDevice,
  noneDiscarded,
  type RecentStreams,
  sinceErasure,
} from './device-stream.ts';

/** The caller and the conditions of a command. */
export type CommandConditions = {
  readonly correlationId: string;
  readonly actor: string;
  readonly traceparent?: string;
  /** The same key of the same actor gives the same answer, for ever, unless that was a refusal. */
  readonly idempotencyKey?: string;
  /** Expected revision: throws `StaleRevision` unless the device is at it. */
  readonly expectedRevision?: number;
};

/** The device after the command and the position of its last event. */
export type CommandResult = {
  readonly device: DeviceRow;
  readonly position: Position;
  /** The command was handled before, under its idempotency key, and changed nothing now. */
  readonly wasReplayed: boolean;
};

export type DeviceCommands = {
  /**
   * Load, fold, decide, append; again when another writer got there first and the caller named no revision.
   * Throws `Rejection`, `StaleRevision`, `IdempotencyKeyReused`, `EventStoreUnavailable`.
   */
  handle(command: DeviceCommand, context: CommandConditions): Promise<CommandResult>;
};

export class StaleRevision extends Error {
  override readonly name = 'StaleRevision';
  readonly current: number;

  constructor(id: string, expected: number, current: number, aggregate = 'Device') {
    super(`${aggregate} ${id} is at revision ${current}, not ${expected}`);
    this.current = current;
  }
}

export class IdempotencyKeyReused extends Error {
  override readonly name = 'IdempotencyKeyReused';

  constructor() {
    super('This Idempotency-Key was already used for a different request');
  }
}

const attempts = 8;

type DeviceStreamOptions = { readonly discarded?: DiscardedEvents; readonly recent?: RecentStreams };

type Decision =
  | { readonly events: readonly NewEvent[]; readonly state: Device }
  | { readonly answer: CommandResult };

/** Nothing where the decision is a refusal. */
function orNothing(decide: () => Decision): Decision | undefined {
  try {
    return decide();
  } catch {
    return undefined;
  }
}

const unregistered: LoadedDevice = { events: [], state: deviceDecider.initial, revision: 'none' };

export function deviceCommands(
  eventStore: EventStore,
  registry: EventRegistry,
  ids: Ids,
  clock: Clock,
  changed: (deviceId: string, revision: number) => void,
  { discarded = noneDiscarded, recent }: DeviceStreamOptions = {},
): DeviceCommands {
  const ports = { registry, ids, now: isoTimes(clock) };
  const read = (deviceId: string) => loadDevice(eventStore, registry, deviceId, discarded);
  const load = (deviceId: string) => recent?.load(deviceId, () => read(deviceId)) ?? read(deviceId);
  return { handle };

  async function handle(command: DeviceCommand, context: CommandConditions): Promise<CommandResult> {
    const { deviceId } = command;
    const handling = new CommandHandling(command, context, ports);
    const { isFresh } = handling;

    // Most registrations are of a device that is not there: that this one is not, the append finds out at no cost.
    const isFirst = isFresh && command.type === 'RegisterDevice';
    const supposed = isFirst ? unregistered : recent?.get(deviceId);
    let known = supposed ?? (await load(deviceId));
    let isProven = supposed === undefined;

    for (let attempt = 1; ; attempt += 1) {
      const decision = isProven ? handling.decide(known) : orNothing(() => handling.decide(known));
      if (decision === undefined || 'answer' in decision) {
        if (decision && isProven) return decision.answer;
        // Nothing would be appended, which would have proven what the decision rests on.
        [known, isProven] = [await load(deviceId), true];
        continue;
      }
      const { events, state } = decision;
      try {
        const appended = await eventStore.append(
          handling.stream,
          events,
          known.revision,
          isFresh ? 'unused' : undefined,
        );
        // Another request may have come under the same key meanwhile: then this is what that one appended.
        handling.findPrevious(appended);
        const history = [...known.events, ...appended];
        const revision = history.at(-1)?.revision ?? 'none';
        changed(deviceId, revision === 'none' ? 0 : revision);
        recent?.set(deviceId, { events: sinceErasure(history), state, revision });
        return resultOf(deviceId, state, history);
      } catch (error) {
        recent?.delete(deviceId);
        if (!(error instanceof RevisionConflict) || attempt >= attempts) throw error;
        [known, isProven] = [await load(deviceId), true];
      }
    }
  }
}

type DecisionPorts = { readonly registry: EventRegistry; readonly ids: Ids; readonly now: () => string };

/** One command with its identity, which a repeat under the same idempotency key shares. */
class CommandHandling {
  readonly stream: string;
  /** Sent without an idempotency key. */
  readonly isFresh: boolean;
  readonly #command: DeviceCommand;
  readonly #context: CommandConditions;
  readonly #ports: DecisionPorts;
  readonly #id: string;
  /** Of a command with a key. */
  readonly #digest: string | undefined;

  constructor(command: DeviceCommand, context: CommandConditions, ports: DecisionPorts) {
    const { ids } = ports;
    this.#command = command;
    this.#context = context;
    this.#ports = ports;
    this.stream = deviceStream(command.deviceId);
    const { actor, idempotencyKey: key } = context;
    this.isFresh = key === undefined;
    this.#id = key === undefined ? ids.uuidV7() : ids.uuidV5(this.stream, actor, key);
    this.#digest = this.isFresh ? undefined : ids.digest(canonicalJson(withoutSecrets(command)));
  }

  /** What the command comes to: events to append, or an answer without any. */
  decide({ events: history, state }: LoadedDevice): Decision {
    const { deviceId } = this.#command;
    const previous = this.findPrevious(history);
    if (previous)
      return { answer: resultOf(deviceId, foldState(previous, this.#ports.registry), previous, true) };
    checkRevision(deviceId, history, this.#context.expectedRevision);
    const decided = deviceDecider.decide(this.#command, state);
    const events = decided.length === 0 && !this.isFresh ? unchanged(deviceId, state) : decided;
    if (events.length === 0) return { answer: resultOf(deviceId, state, history) };
    const before = history.at(-1)?.metadata.recordedAt;
    return {
      events: events.map((event, index) => this.#newEvent(event, index, before)),
      state: events.reduce(deviceDecider.evolve, state),
    };
  }

  /** The stream as it stood right after this very command was handled, if it was. */
  findPrevious(history: readonly RecordedEvent[]): readonly RecordedEvent[] | undefined {
    if (this.#digest === undefined) return undefined;
    const last = history.findLastIndex((event) => this.#isOfThisCommand(event));
    if (last === -1) return undefined;
    const stored = history[last]?.metadata.commandDigest;
    // Releases before this one had a digest of the names as they came.
    const olderDigest = () => this.#ports.ids.digest(JSON.stringify(withoutSecrets(this.#command)));
    if (stored !== this.#digest && stored !== olderDigest()) throw new IdempotencyKeyReused();
    return history.slice(0, last + 1);
  }

  /** Recorded no earlier than what it follows, although another node's clock is ahead. */
  #newEvent(event: DeviceEvent, index: number, before = ''): NewEvent {
    const { ids, now, registry } = this.#ports;
    const { correlationId, actor, traceparent } = this.#context;
    const time = now();
    return {
      id: this.isFresh ? ids.uuidV7() : this.#derivedId(index),
      type: event.type,
      data: event.data,
      metadata: {
        $correlationId: correlationId,
        $causationId: this.#id,
        actor,
        recordedAt: time > before ? time : before,
        schemaVersion: registry.currentVersion(event.type),
        ...(this.#digest !== undefined && { commandDigest: this.#digest }),
        ...(traceparent !== undefined && { traceparent }),
      },
    };
  }

  /** Releases before this one knew a command by its key alone, whoever's it was. */
  #isOfThisCommand({ metadata: { $causationId, actor } }: RecordedEvent): boolean {
    if ($causationId === this.#id) return true;
    const { actor: caller, idempotencyKey: key } = this.#context;
    return actor === caller && key !== undefined && $causationId === this.#ports.ids.uuidV5(this.stream, key);
  }

  /** Each request makes a token of its own: events that differ in it are not the same events. */
  #derivedId(index: number): string {
    const { ids } = this.#ports;
    const command = this.#command;
    const hasToken = 'tokenHash' in command && command.tokenHash !== undefined;
    return ids.uuidV5(hasToken ? ids.uuidV5(this.#id, command.tokenHash) : this.#id, index);
  }
}

/**
 * What a command with a key leaves in the stream when it changes nothing: a later repeat is then known, whatever has
 * happened since. Every release reads it, as a change of no detail. A device that is gone for good needs none: no
 * repeat could change it.
 */
const unchanged = (deviceId: string, { status }: Device): readonly DeviceEvent[] =>
  status === 'active' || status === 'suspended' ? [{ type: 'DeviceDetailsChanged', data: { deviceId } }] : [];

/** A repeated request is the same command, although its token differs. */
const withoutSecrets = (command: DeviceCommand): DeviceCommand =>
  'tokenHash' in command && command.tokenHash !== undefined ? { ...command, tokenHash: 'a token' } : command;

/** The same for the same values, in whatever order the names of an object came. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

function checkRevision(
  deviceId: string,
  history: readonly RecordedEvent[],
  expected: number | undefined,
): void {
  const current = history.at(-1)?.revision;
  if (expected === undefined || current === undefined) return;
  if (current !== expected) throw new StaleRevision(deviceId, expected, current);
}

function resultOf(
  deviceId: string,
  device: Device,
  history: readonly RecordedEvent[],
  repeated = false,
): CommandResult {
  // What an erasure answers is what is read from then on.
  const snapshot = deviceRowOf(deviceId, device, sinceErasure(history));
  if (snapshot === undefined) throw new Error(`Device ${deviceId} has an empty stream after a command`);
  return { device: snapshot, position: lastPosition(history), wasReplayed: repeated };
}

/**
 * Has everything personal of a device forgotten, for good: first on record, as an event that every reader honours, then
 * in the store itself. When the second fails, the same call may be made again. Throws `Rejection`, `StaleRevision`,
 * `IdempotencyKeyReused`, `EventStoreUnavailable`.
 */
export type EraseDevice = (
  deviceId: string,
  reason: string,
  context: CommandConditions,
) => Promise<CommandResult>;

export const eraseDevice =
  (commands: DeviceCommands, eraser: EventEraser): EraseDevice =>
  async (deviceId, reason, context) => {
    const answer = await commands.handle({ type: 'EraseDevice', deviceId, reason }, context);
    // Nothing can follow an erasure: the last event is the one.
    await eraser.eraseBefore(deviceStream(deviceId), answer.device.revision);
    return answer;
  };

/** The current time as ISO 8601, formatted once a millisecond. */
function isoTimes(clock: Clock): () => string {
  let last = Number.NaN;
  let text = '';
  return () => {
    const time = clock.now();
    if (time !== last) {
      last = time;
      text = new Date(time).toISOString();
    }
    return text;
  };
}
