import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import type { StatusObject } from '@grpc/grpc-js';
import { handlerFailed, notOffered, streamDeleted, unreadablePosition } from './failures.ts';
import {
  caughtUpResponse,
  checkpointResponse,
  confirmationResponse,
  eventResponse,
  notFoundResponse,
  positionIn,
  streamName,
} from './messages.ts';
import type { StoredEvent } from './model/events.ts';
import { type EventFilter, type SubscriptionStart, subscription } from './model/subscription.ts';
import type { Node } from './node.ts';

export type ReadCall = Parameters<IStreamsServer['read']>[0];

/** What reads and subscriptions have come to so far. */
export type ReadTraffic = {
  readonly subscriptions: Set<ReadCall>;
  eventsSent: number;
  /** Of filtered subscriptions: those looked at, whether or not they were wanted. */
  eventsConsidered: number;
  /** Calls that wait for the client to take what it was sent. */
  heldBack: number;
};

// How many events the server looks at in one go, unless the client names another number.
const defaultWindow = 32;

/** Streams/Read: every read and every catch-up subscription. */
export const readCall =
  (node: Node, traffic: ReadTraffic, saysCaughtUp: boolean): IStreamsServer['read'] =>
  async (call) => {
    call.on('error', () => undefined);
    const options = call.request.getOptions();
    if (node.faults.ignores(call) || !options) return;
    await node.faults.running();
    const stream = streamIn(options);
    const refusal = node.refusedRead(call, stream ?? '$all');
    if (refusal) return void call.emit('error', refusal);
    if (options.hasSubscription()) {
      if (stream !== undefined) return void call.emit('error', notOffered());
      return subscribe(call, options, node, traffic, saysCaughtUp);
    }
    const found = stream === undefined ? readAll(options, node) : readStream(options, stream, node);
    if (found === 'not-found') await send(call, notFoundResponse(stream ?? ''), traffic);
    else if ('code' in found) return void call.emit('error', found);
    else await sendEvents(call, options, found, node, traffic);
    call.end();
  };

async function sendEvents(
  call: ReadCall,
  options: streams.ReadReq.Options,
  found: Iterable<StoredEvent>,
  { faults }: Node,
  traffic: ReadTraffic,
): Promise<void> {
  const count = Number(options.getCount());
  const pace = paced(() => (options.getStream() ? Number.POSITIVE_INFINITY : faults.readsPerSecond));
  let sent = 0;
  for (const event of found) {
    if (sent === count || call.cancelled || call.destroyed) return;
    await send(call, eventResponse(event), traffic);
    sent += 1;
    pace.add(1);
    await pace.kept();
  }
}

function readStream(
  options: streams.ReadReq.Options,
  stream: string,
  { store, count }: Node,
): Iterable<StoredEvent> | 'not-found' | StatusObject {
  const at = options.getStream();
  const read = store.read(stream, {
    ...(at?.hasRevision() && { from: BigInt(at.getRevision()) }),
    backwards: isBackwards(options),
    count,
  });
  return read === 'deleted' ? streamDeleted(stream) : read;
}

/** Forwards an event at the position is included, backwards it is not: either way reading starts before it. */
function readAll(
  options: streams.ReadReq.Options,
  { store, count }: Node,
): Iterable<StoredEvent> | StatusObject {
  const { log } = store;
  const all = options.getAll();
  const position = all?.hasPosition() ? positionIn(all.getPosition()) : undefined;
  const place = position ? log.place(position) : 'boundary';
  if (place === 'inside' || (place === 'beyond' && isBackwards(options))) return unreadablePosition();
  const from = position ? log.numberAfter(position, 'including') : all?.hasEnd() ? count : 0;
  return isBackwards(options) ? log.backwards(Math.min(from, count)) : log.forwards(from, count);
}

async function subscribe(
  call: ReadCall,
  options: streams.ReadReq.Options,
  node: Node,
  traffic: ReadTraffic,
  saysCaughtUp: boolean,
): Promise<void> {
  const { log } = node.store;
  const start = startIn(options);
  if (typeof start !== 'string' && log.place(start) === 'inside')
    return void call.emit('error', handlerFailed());
  const ended = () => {
    if (traffic.subscriptions.delete(call)) log.wake();
  };
  traffic.subscriptions.add(call);
  call.on('close', ended);
  call.on('cancelled', ended);
  await send(call, confirmationResponse(randomUUID()), traffic);

  const pace = paced(() => node.faults.searchesPerSecond);
  const items = subscription(
    log,
    start,
    filterIn(options),
    () => node.count,
    (events) => {
      traffic.eventsConsidered += events;
      pace.add(events);
    },
  );
  while (traffic.subscriptions.has(call)) {
    // Before looking, so that what is written from here on wakes it.
    const changed = log.changed();
    const item = items.next().value;
    await node.faults.running();
    if (item === 'waiting') pace.rest();
    else await pace.kept();
    if (item === 'waiting') await grown(changed, node);
    else if (item === 'caught-up') {
      if (saysCaughtUp) await send(call, caughtUpResponse(), traffic);
    } else if ('event' in item) await send(call, eventResponse(item.event), traffic);
    else {
      if (node.faults.searchMs > 0) await delay(node.faults.searchMs);
      await send(call, checkpointResponse(item.checkpoint), traffic);
    }
  }
}

/** Holds work to so many events a second since it last rested. */
function paced(perSecond: () => number) {
  let began = performance.now();
  let done = 0;
  return {
    add(events: number): void {
      done += events;
    },
    rest(): void {
      began = performance.now();
      done = 0;
    },
    /** Resolves at once unless the work is ahead by more than a timer's precision. */
    async kept(): Promise<void> {
      const aheadMs = (done * 1000) / perSecond() - (performance.now() - began);
      if (aheadMs > 5) await delay(aheadMs);
    },
  };
}

/** Resolves when more of the log may have reached the node. */
async function grown(changed: Promise<void>, { behindMs }: Node): Promise<void> {
  await (behindMs === undefined ? changed : Promise.race([changed, delay(behindMs)]));
}

function startIn(options: streams.ReadReq.Options): SubscriptionStart {
  const all = options.getAll();
  if (all?.hasPosition()) return positionIn(all.getPosition());
  return all?.hasEnd() ? 'end' : 'start';
}

function filterIn(options: streams.ReadReq.Options): EventFilter | undefined {
  const filter = options.getFilter();
  const expression = filter?.getStreamIdentifier() ?? filter?.getEventType();
  if (!filter || !expression) return undefined;
  const window = filter.hasMax() ? filter.getMax() : defaultWindow;
  return {
    on: filter.hasStreamIdentifier() ? 'stream' : 'type',
    prefixes: expression.getPrefixList(),
    regex: expression.getRegex(),
    window,
    checkpointInterval: window * (filter.getCheckpointintervalmultiplier() || 1),
  };
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

const streamIn = (options: streams.ReadReq.Options): string | undefined => {
  const stream = options.getStream();
  return stream && streamName(stream.getStreamIdentifier());
};

const isBackwards = (options: streams.ReadReq.Options): boolean =>
  options.getReadDirection() === streams.ReadReq.Options.ReadDirection.BACKWARDS;
