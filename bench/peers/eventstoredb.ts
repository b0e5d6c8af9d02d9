import { EventStoreDbDouble } from '../../test/support/eventstoredb/eventstoredb-double.ts';
import { serveCalls } from '../harness/peer.ts';

/** What EventStoreDB 23.10.6 was seen to do with a log that is mostly other programs'. */
const likeTheServer = { readsPerSecond: 54_000, searchesPerSecond: 270_000 };

const opening = EventStoreDbDouble.start();

/** The tests' stand-in for EventStoreDB, alone in a process: the same server for both sides of a ratio. */
export type StandInPeer = typeof calls;
const calls = {
  /** Resolves with its connection string. */
  open: async (): Promise<string> => (await opening).url,

  /** Has it search no faster than a real server, and another program append so many events. */
  async share(foreignEvents: number): Promise<void> {
    const { faults, store } = await opening;
    Object.assign(faults, likeTheServer);
    store.appendRun('orders-1', foreignEvents, {
      type: 'OrderPlaced',
      contentType: 'application/json',
      data: Buffer.from('{}'),
      metadata: new Uint8Array(),
    });
  },
};
serveCalls(calls);
