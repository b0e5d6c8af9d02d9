import { eventStoreDbAccessMarker } from '../../../infrastructure/eventstoredb/access-marker.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventSource } from '../../../infrastructure/eventstoredb/event-source.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { uuidIds } from '../../../infrastructure/identity.ts';
import { accessMarkerContract } from '../../contracts/access-marker.contract.ts';
import { recordedEventSourceContract } from '../../contracts/event-source.contract.ts';
import { eventStoreContract } from '../../contracts/event-store.contract.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';
import { type StandIn, standIns } from '../../support/eventstoredb/stand-ins.ts';

function bothContracts(adapter: string, serve: () => Promise<StandIn>): void {
  const open = async () => {
    const server = await serve();
    const connections: EventStoreDbConnection[] = [];
    const reopen = async () => {
      const connection = new EventStoreDbConnection(server.url);
      connections.push(connection);
      return {
        store: new EventStoreDbEventStore(connection),
        source: new EventStoreDbEventSource(connection, silentLog),
      };
    };
    const close = async () => {
      await Promise.all(connections.map((connection) => connection.close()));
      await server.stop();
    };
    return { ...(await reopen()), reopen, close };
  };
  eventStoreContract(adapter, open);
  accessMarkerContract(adapter, async () => {
    const { store, reopen, close } = await open();
    const markerOver = (eventStore: EventStoreDbEventStore) =>
      eventStoreDbAccessMarker(eventStore, uuidIds, { now: Date.now });
    return { one: markerOver(store), other: markerOver((await reopen()).store), close };
  });
  recordedEventSourceContract(adapter, open);
}

for (const { title, start } of Object.values(standIns))
  bothContracts(`EventStoreDB's protocol, ${title}`, start);

const url = process.env.EVENTSTORE_URL;
if (url) bothContracts('EventStoreDB', async () => ({ url, stop: async () => undefined }));
else
  describe('EventStoreDB', () => {
    it('honours EventStore and EventSource: needs EVENTSTORE_URL, a server such as docker compose starts');
  });
