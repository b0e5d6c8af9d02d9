import { sqliteEventSource } from '../../../infrastructure/sqlite/sqlite-event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/sqlite-event-store.ts';
import { recordedEventSourceContract } from '../../contracts/event-source.contract.ts';
import { eventStoreContract } from '../../contracts/event-store.contract.ts';
import { reopenable } from './reopenable.ts';

const quick = { retryPauses: [1, 1, 1] };
const open = () =>
  reopenable(({ events }) => ({
    store: new SqliteEventStore(events),
    source: sqliteEventSource(events, quick),
  }));

eventStoreContract('SqliteEventStore', open);
recordedEventSourceContract('SqliteSource of device events', open);
