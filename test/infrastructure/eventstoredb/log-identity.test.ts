import type { RecordedEvent } from '../../../application/ports/event-store.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventSource } from '../../../infrastructure/eventstoredb/event-source.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { logIdentityContract } from '../../contracts/log-identity.contract.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';

logIdentityContract<RecordedEvent>(
  'EventStoreDB, as the stand-in speaks its protocol,',
  async () => {
    const server = await EventStoreDbDouble.start();
    const connection = new EventStoreDbConnection(server.url);
    const store = new EventStoreDbEventStore(connection);
    let copy = server.store.copy();
    return {
      source: async () => new EventStoreDbEventSource(connection, silentLog),
      idOf: ({ id }) => id,
      append: (count) =>
        store.append(
          newStream(),
          Array.from({ length: count }, (_, n) => newEvent({ n })),
          'none',
        ),
      async keepCopy() {
        copy = server.store.copy();
      },
      putBack: () => server.putBack(copy),
      async close() {
        await connection.close();
        await server.stop();
      },
    };
  },
  { asItRuns: true },
);
