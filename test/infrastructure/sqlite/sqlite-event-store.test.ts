import assert from 'node:assert/strict';
import { EventStoreUnavailable } from '../../../application/ports/event-store.ts';
import { sqliteEventSource } from '../../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { recordedEventSourceContract } from '../../contracts/event-source.contract.ts';
import { eventStoreContract, newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { reopenable } from './reopenable.ts';

const quick = { retryPauses: [1, 1, 1] };
const open = () =>
  reopenable(({ events }) => ({
    store: new SqliteEventStore(events),
    source: sqliteEventSource(events, quick),
  }));

eventStoreContract('SqliteEventStore', open);
recordedEventSourceContract('SqliteSource of device events', open);

describe('SqliteEventStore', () => {
  it('when closed, commits what was asked for before and refuses the rest', async () => {
    const opened = await open();
    const stream = newStream();
    const append = opened.store.append(stream, [newEvent()], 'none');
    await opened.store.close();
    const [recorded] = await append;
    await assert.rejects(opened.store.read(stream), EventStoreUnavailable);
    await assert.rejects(opened.store.append(stream, [newEvent()], 0), EventStoreUnavailable);
    const { store } = await opened.reopen!();
    assert.deepEqual(await store.read(stream), [recorded]);
    await opened.close();
  });
});
