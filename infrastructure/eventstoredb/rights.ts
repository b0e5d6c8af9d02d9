import { BACKWARDS, END, jsonEvent, WrongExpectedVersionError } from '@eventstore/db-client';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import type { Log } from '../../application/ports/system.ts';
import { deviceStream } from '../../domain/device.ts';
import { StartupError } from '../startup-error.ts';
import type { EventStoreDbConnection } from './connection.ts';
import { type CallSubject, kindOf } from './errors.ts';
import { reading } from './recorded-events.ts';

/** No device can have this id: the stream is never written, and stands for the streams of all devices. */
const probeStream = deviceStream('$rights');
const devices = 'the streams of devices';

/** No stream gets there, so an append that expects it is refused; whether it may be made is looked at before that. */
const neverReached = 2n ** 62n;

const leader = { requiresLeader: true } as const;

type Probe = readonly [
  CallSubject,
  (connection: EventStoreDbConnection, subject: CallSubject) => Promise<void>,
];

/** Everything that is done with the event store, tried without changing anything. */
const probes: readonly Probe[] = [
  [{ doing: 'read', stream: '$all' }, tryReadAll],
  [{ doing: 'read', stream: devices }, (connection, subject) => tryRead(connection, subject, probeStream)],
  [
    { doing: 'read the metadata of', stream: devices },
    (connection, subject) => tryRead(connection, subject, `$$${probeStream}`),
  ],
  [
    { doing: 'append to', stream: devices },
    (connection, subject) => tryAppend(connection, subject, probeStream),
  ],
  [
    { doing: 'set the metadata of', stream: devices },
    (connection, subject) => tryAppend(connection, subject, `$$${probeStream}`),
  ],
];

/** Throws `EventStoreUnavailable` unless the store does everything now, with the reason where an operator can mend it. */
export async function checkEventStore(connection: EventStoreDbConnection): Promise<void> {
  const failure = await firstFailure(connection);
  if (failure) throw failure.error;
}

/**
 * The same before a process starts. Throws a `StartupError` when rights are missing: they would be missing for every
 * command. A store that is away is waited for, and so reported once.
 */
export async function requireRights(connection: EventStoreDbConnection, log: Log): Promise<void> {
  const failure = await firstFailure(connection);
  if (!failure) return;
  const { error, subject } = failure;
  if (!(error instanceof EventStoreUnavailable)) throw error;
  if (kindOf(error.cause) === 'rights') throw new StartupError(missingRight(error, subject, connection));
  const reason = error.reason ?? error.message;
  log.warn({ reason }, 'event store is not available yet');
}

async function firstFailure(
  connection: EventStoreDbConnection,
): Promise<{ readonly subject: CallSubject; readonly error: unknown } | undefined> {
  const outcomes = await Promise.all(
    probes.map(async ([subject, attempt]) => {
      try {
        await attempt(connection, subject);
        return undefined;
      } catch (error) {
        return { subject, error };
      }
    }),
  );
  const failures = outcomes.filter((outcome) => outcome !== undefined);
  const named = failures.find(({ error }) => error instanceof EventStoreUnavailable && error.reason);
  const [first] = failures;
  if (named || !first || !(first.error instanceof EventStoreUnavailable)) return named ?? first;
  const reason = await connection.tlsFault();
  if (!reason) return first;
  const message = `The event store cannot be used: ${reason}`;
  return { ...first, error: new EventStoreUnavailable(message, { cause: first.error, reason }) };
}

/** One line for whoever starts the process: the user, the right, and how it is given. */
function missingRight(
  { cause }: EventStoreUnavailable,
  { doing, stream }: CallSubject,
  { failures: { user } }: EventStoreDbConnection,
): string {
  if (user === undefined)
    return `EVENTSTORE_URL names no user, and nobody may ${doing} ${stream} without one: write esdb://user:password@host`;
  if ((cause as { code?: unknown }).code === 16)
    return `EVENTSTORE_URL: ${user} is not known with this password: correct it (percent-encode @ : and /)`;
  const remedy =
    stream === '$all'
      ? 'an administrator adds the name to "$r" of "$acl" in the metadata of $all'
      : 'an administrator adds the name to "$r", "$w", "$mr" and "$mw" of their "$acl", or of "$userStreamAcl" in $settings';
  return `EVENTSTORE_URL: ${user} may not ${doing} ${stream}: ${remedy} (docs/security.md)`;
}

function tryReadAll(connection: EventStoreDbConnection, subject: CallSubject): Promise<void> {
  return connection.once((client, { signal }) => {
    const options = { direction: BACKWARDS, fromPosition: END, maxCount: 1, ...leader } as const;
    return reading(client.readAll(options), signal, toItsEnd);
  }, subject);
}

function tryRead(connection: EventStoreDbConnection, subject: CallSubject, stream: string): Promise<void> {
  return connection.once(async (client, { signal }) => {
    const options = { direction: BACKWARDS, fromRevision: END, maxCount: 1, ...leader } as const;
    await reading(client.readStream(stream, options), signal, toItsEnd).catch((error) => {
      if (error.type !== 'stream-not-found') throw error;
    });
  }, subject);
}

function tryAppend(connection: EventStoreDbConnection, subject: CallSubject, stream: string): Promise<void> {
  return connection.once(async (client, { deadlineMs: deadline }) => {
    const event = jsonEvent({ type: 'FieldlogRights', data: {} });
    const options = { expectedRevision: neverReached, deadline, ...leader };
    await client.appendToStream(stream, event, options).catch((error) => {
      if (!(error instanceof WrongExpectedVersionError)) throw error;
    });
  }, subject);
}

async function toItsEnd(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events);
}
