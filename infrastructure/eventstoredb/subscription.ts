import {
  type AllStreamSubscription,
  type RecordedEvent as ClientEvent,
  type EventStoreDBClient,
  START,
  streamNameFilter,
} from '@eventstore/db-client';
import type { Position } from '../../application/ports/event-source.ts';
import { logPosition, toPosition } from './recorded-events.ts';

/** What comes out of a subscription beside events, in order with them. */
export class Searched {
  /** Everything up to here has been delivered, if the server says so. */
  readonly upTo: Position | undefined;
  /** Everything there is has been delivered. */
  readonly isEnd: boolean;

  constructor({
    upTo,
    isEnd = false,
  }: { readonly upTo?: Position | undefined; readonly isEnd?: boolean } = {}) {
    this.upTo = upTo;
    this.isEnd = isEnd;
  }

  and(later: Searched): Searched {
    return new Searched({ upTo: later.upTo ?? this.upTo, isEnd: later.isEnd || this.isEnd });
  }
}

/** Events that the server looks at in one go, and those after which it says how far it is. */
const searchWindow = 32;
export const checkpointEvery = 512;

export type Arrival = { readonly event?: ClientEvent } | Searched;

export type DeviceSubscription = AllStreamSubscription & AsyncIterable<Arrival>;

/**
 * A subscription to the streams whose names begin with `prefix`, and to their metadata, behind `after`. What the
 * server says between events takes its place among them, since the client would call back while earlier events still
 * wait to be read.
 */
export function subscribeTo(
  client: EventStoreDBClient,
  prefix: string,
  after: Position | null,
  highWaterMark: number,
): DeviceSubscription {
  const filter = streamNameFilter({
    prefixes: [prefix, `$$${prefix}`],
    checkpointInterval: checkpointEvery / searchWindow,
    maxSearchWindow: searchWindow,
    checkpointReached: (through, position) => {
      const delivered = through as unknown as { push(item: Searched): void };
      delivered.push(new Searched({ upTo: toPosition(position) }));
    },
  });
  const fromPosition = after === null ? START : logPosition(after);
  const subscription = client.subscribeToAll({ fromPosition, filter }, { highWaterMark });
  subscription.on('caughtUp', () => subscription.push(new Searched({ isEnd: true })));
  return subscription as DeviceSubscription;
}
