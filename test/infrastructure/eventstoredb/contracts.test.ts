import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventSource } from '../../../infrastructure/eventstoredb/event-source.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { recordedEventSourceContract } from '../../contracts/event-source.contract.ts';
import { eventStoreContract } from '../../contracts/event-store.contract.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';

function bothContracts(
  adapter: string,
  serve: () => Promise<{ readonly url: string; stop(): Promise<void> }>,
): void {
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
  recordedEventSourceContract(adapter, open);
}

bothContracts("EventStoreDB (the server's protocol, in process)", () => EventStoreDbDouble.start());

const url = process.env.EVENTSTORE_URL;
if (url) bothContracts('EventStoreDB', async () => ({ url, stop: async () => undefined }));
else
  describe('EventStoreDB', () => {
    it('honours EventStore and EventSource: needs EVENTSTORE_URL, a server such as docker compose starts');
  });
