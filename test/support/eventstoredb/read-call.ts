import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import type { EventLog, LoggedEvent } from './event-log.ts';
import type { Faults } from './faults.ts';

export type ReadCall = Parameters<IStreamsServer['read']>[0];

/** What reads and subscriptions have come to so far. */
export type ReadTraffic = {
  readonly subscriptions: Set<ReadCall>;
  eventsSent: number;
  /** Calls that wait for the client to take what it was sent. */
  heldBack: number;
};

// The server looks at this many events a page and says so after a number of pages.
const searchWindow = 32;

/** Streams/Read: every read and every catch-up subscription. */
export const readCall =
  (log: EventLog, faults: Faults, traffic: ReadTraffic): IStreamsServer['read'] =>
  async (call) => {
    call.on('error', () => undefined);
    const options = call.request.getOptions();
    if (faults.ignores(call) || !options) return;
    if (options.hasSubscription()) {
      const ended = () => {
        if (traffic.subscriptions.delete(call)) log.wake();
      };
      traffic.subscriptions.add(call);
      call.on('close', ended);
      call.on('cancelled', ended);
      return subscribe(call, log, options, faults, traffic);
    }
    const events = requested(log, options);
    if (events === undefined) {
      const response = new streams.ReadResp();
      const notFound = new streams.ReadResp.StreamNotFound();
      notFound.setStreamIdentifier(options.getStream()?.getStreamIdentifier());
      await send(call, response.setStreamNotFound(notFound), traffic);
    } else for (const event of events) await send(call, eventResponse(event), traffic);
    call.end();
  };

function requested(log: EventLog, options: streams.ReadReq.Options): readonly LoggedEvent[] | undefined {
  const source = options.getStream() ? streamOf(log, options) : log.all;
  if (source === undefined) return undefined;
  const backwards = options.getReadDirection() === streams.ReadReq.Options.ReadDirection.BACKWARDS;
  const from = startIndex(log, options, source, backwards);
  const events = backwards ? source.slice(0, from).reverse() : source.slice(from);
  const first = log.truncatedBefore(nameOf(options.getStream()?.getStreamIdentifier()));
  const left = options.getStream() ? events.filter(({ revision }) => revision >= first) : events;
  return left.slice(0, Number(options.getCount()));
}

const streamOf = (log: EventLog, options: streams.ReadReq.Options) =>
  log.stream(nameOf(options.getStream()?.getStreamIdentifier()));

/** Where reading starts: forwards with the event at this index, backwards with the one before it. */
function startIndex(
  log: EventLog,
  options: streams.ReadReq.Options,
  source: readonly LoggedEvent[],
  backwards: boolean,
): number {
  const stream = options.getStream();
  const all = options.getAll();
  if (stream?.hasRevision()) return Number(stream.getRevision()) + (backwards ? 1 : 0);
  if (all?.hasPosition()) {
    // Forwards the event at a position is included, backwards it is not: either way reading starts before it.
    const { commit, prepare } = positionOf(all.getPosition());
    return log.indexAfter({ commit, prepare: prepare - 1n });
  }
  return stream?.hasEnd() || all?.hasEnd() ? source.length : 0;
}

async function subscribe(
  call: ReadCall,
  log: EventLog,
  options: streams.ReadReq.Options,
  faults: Faults,
  traffic: ReadTraffic,
): Promise<void> {
  const tell = (response: streams.ReadResp) => send(call, response, traffic);
  const confirmation = new streams.ReadResp.SubscriptionConfirmation().setSubscriptionId(randomUUID());
  await tell(new streams.ReadResp().setConfirmation(confirmation));

  const source = () => (options.getStream() ? (streamOf(log, options) ?? []) : log.all);
  const wanted = filterOf(options);
  const interval = searchWindow * (options.getFilter()?.getCheckpointintervalmultiplier() || 1);
  let next = subscriptionStart(log, options, source());
  let caughtUp = false;
  let searched = 0;
  while (traffic.subscriptions.has(call)) {
    const event = source()[next];
    if (event === undefined) {
      if (!caughtUp) await tell(new streams.ReadResp().setCaughtUp(new streams.ReadResp.CaughtUp()));
      caughtUp = true;
      if (source()[next] === undefined) await log.changed();
      continue;
    }
    next += 1;
    searched += 1;
    if (wanted(event)) await tell(eventResponse(event));
    if (!options.hasFilter() || searched % interval !== 0) continue;
    if (faults.searchMs > 0) await delay(faults.searchMs);
    await tell(checkpointAfter(event));
  }
}

/** A subscription starts behind what it names. */
function subscriptionStart(
  log: EventLog,
  options: streams.ReadReq.Options,
  source: readonly LoggedEvent[],
): number {
  const stream = options.getStream();
  const all = options.getAll();
  if (stream?.hasRevision()) return Number(stream.getRevision()) + 1;
  if (all?.hasPosition()) return log.indexAfter(positionOf(all.getPosition()));
  return stream?.hasEnd() || all?.hasEnd() ? source.length : 0;
}

function filterOf(options: streams.ReadReq.Options): (event: LoggedEvent) => boolean {
  const filter = options.getFilter();
  const expression = filter?.getStreamIdentifier() ?? filter?.getEventType();
  if (!filter || !expression) return () => true;
  const subject = (event: LoggedEvent) => (filter.hasStreamIdentifier() ? event.stream : event.type);
  const prefixes = expression.getPrefixList();
  if (prefixes.length > 0) return (event) => prefixes.some((prefix) => subject(event).startsWith(prefix));
  const regex = new RegExp(expression.getRegex());
  return (event) => regex.test(subject(event));
}

function eventResponse(event: LoggedEvent): streams.ReadResp {
  const recorded = new streams.ReadResp.ReadEvent.RecordedEvent();
  recorded.setId(new shared.UUID().setString(event.id));
  recorded.setStreamIdentifier(
    new shared.StreamIdentifier().setStreamName(Uint8Array.from(Buffer.from(event.stream, 'utf8'))),
  );
  recorded.setStreamRevision(String(event.revision));
  recorded.setCommitPosition(String(event.position.commit));
  recorded.setPreparePosition(String(event.position.prepare));
  recorded.getMetadataMap().set('type', event.type);
  recorded.getMetadataMap().set('content-type', event.contentType);
  recorded.getMetadataMap().set('created', String(event.created));
  recorded.setCustomMetadata(event.metadata);
  recorded.setData(event.data);
  const resolved = new streams.ReadResp.ReadEvent().setEvent(recorded);
  resolved.setCommitPosition(String(event.position.commit));
  return new streams.ReadResp().setEvent(resolved);
}

/** As the server tells it: where the search goes on, which lies ahead of every event handed over so far. */
function checkpointAfter(event: LoggedEvent): streams.ReadResp {
  const checkpoint = new streams.ReadResp.Checkpoint();
  checkpoint.setCommitPosition(String(event.position.commit + 1n));
  checkpoint.setPreparePosition('0');
  return new streams.ReadResp().setCheckpoint(checkpoint);
}

async function send(call: ReadCall, response: streams.ReadResp, traffic: ReadTraffic): Promise<void> {
  if (call.cancelled || call.destroyed) return;
  if (response.hasEvent()) traffic.eventsSent += 1;
  if (call.write(response)) return;
  traffic.heldBack += 1;
  const goneOn = ['drain', 'cancelled', 'close', 'error'];
  await new Promise<void>((resolve) => {
    const done = () => {
      for (const event of goneOn) call.off(event, done);
      resolve();
    };
    for (const event of goneOn) call.on(event, done);
  });
  traffic.heldBack -= 1;
}

const nameOf = (identifier: shared.StreamIdentifier | undefined): string =>
  Buffer.from(identifier?.getStreamName_asU8() ?? []).toString('utf8');

const positionOf = (position: streams.ReadReq.Options.Position | undefined) => ({
  commit: BigInt(position?.getCommitPosition() ?? 0),
  prepare: BigInt(position?.getPreparePosition() ?? 0),
});
