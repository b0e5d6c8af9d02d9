import assert from 'node:assert/strict';
import { StreamDeleted } from '../../application/ports/event-store.ts';
import {
  loggedTelemetrySourceContract,
  recordedEventSourceContract,
} from '../contracts/event-source.contract.ts';
import { eventStoreContract, newEvent, newStream } from '../contracts/event-store.contract.ts';
import { logIdentityContract } from '../contracts/log-identity.contract.ts';
import { sqlContract } from '../contracts/sql.contract.ts';
import {
  newDevice,
  newPublication,
  reading,
  telemetryLogContract,
} from '../contracts/telemetry-log.contract.ts';
import { Random } from './random.ts';
import { Timeline } from './timeline.ts';
import { DatabaseServer } from './world/database.ts';
import { EventStoreServer } from './world/event-store.ts';
import { noNetworkFaults, SimulatedProcess } from './world/process.ts';
import { TelemetryLogServer } from './world/telemetry-log.ts';

/** A process without faults, by real timers. */
const client = () => {
  const random = new Random('contract');
  const timeline = new Timeline(() => Date.now());
  const faults = { ...noNetworkFaults };
  const none = { away: new Set<never>(), stalled: new Map<never, never>(), crashesLeft: 0 };
  return new SimulatedProcess('contract', { random, timeline, faults, ...none });
};
const eventStore = () => {
  const server = new EventStoreServer(new Random('contract'));
  const { store, eraser, sourceOf } = server.client(client());
  return { server, source: sourceOf('device-'), store: { ...store, ...eraser } };
};
const telemetryLog = (partitions: number) => {
  const server = new TelemetryLogServer(new Random('contract'), partitions);
  return { server, ...server.client(client()) };
};
const close = async () => {};

// The suites that the adapters have to pass on the servers themselves.
eventStoreContract('The model of EventStoreDB', async () => ({ ...eventStore(), close }));
recordedEventSourceContract('The model of EventStoreDB', async () => ({ ...eventStore(), close }));
telemetryLogContract('The model of Kafka', async () => ({ ...telemetryLog(3), close }));
loggedTelemetrySourceContract('The model of Kafka', async () => ({ ...telemetryLog(3), close }));
sqlContract('The model of a database server', async () => {
  const server = new DatabaseServer(new Random('contract'));
  return { db: server.connect(client()), close: async () => server.end() };
});

logIdentityContract(
  'The model of EventStoreDB',
  async () => {
    const { server, store, source } = eventStore();
    let copy = server.copy();
    return {
      source: async () => source,
      idOf: ({ id }) => id,
      append: (count) =>
        store.append(
          newStream(),
          Array.from({ length: count }, () => newEvent()),
          'none',
        ),
      keepCopy: async () => {
        copy = server.copy();
      },
      putBack: async () => server.putBack(copy, false),
      close,
    };
  },
  { asItRuns: false },
);
logIdentityContract(
  'The model of Kafka',
  async () => {
    const { server, log, source } = telemetryLog(1);
    let copy = server.copy();
    return {
      source: async () => source,
      idOf: ({ id }) => id,
      append: (count) =>
        log.publish(newPublication(Array.from({ length: count }, (_, n) => reading(newDevice(), n)))),
      keepCopy: async () => {
        copy = server.copy();
      },
      putBack: async () => server.putBack(copy, false),
      close,
    };
  },
  { asItRuns: false },
);

/** Observed on EventStoreDB 23.10, by the client, and as `infrastructure/eventstoredb` gives it to a port. */
describe('The model of EventStoreDB answers as a server does', () => {
  it('stores an event again that comes at the next revision with the same id', async () => {
    const { store } = eventStore();
    const [stream, event] = [newStream(), newEvent()];
    await store.append(stream, [event], 'none');
    await store.append(stream, [event], 0);
    assert.deepEqual(
      (await store.read(stream)).map(({ id }) => id),
      [event.id, event.id],
    );
  });

  it('hides what is before a truncation, the next event too where that lies beyond the end', async () => {
    const { store } = eventStore();
    const stream = newStream();
    await store.append(stream, [newEvent(), newEvent(), newEvent(), newEvent()], 'none');
    await store.eraseBefore(stream, 2);
    assert.deepEqual(
      (await store.read(stream)).map(({ revision }) => revision),
      [2, 3],
    );
    await store.eraseBefore(stream, 9);
    assert.deepEqual(await store.read(stream), []);
    await store.append(stream, [newEvent()], 3);
    assert.deepEqual(await store.read(stream), []);
  });

  it('refuses everything of a stream that is deleted for good, and says in the log that it is', async () => {
    const { server, store, source } = eventStore();
    const stream = newStream();
    await store.append(stream, [newEvent(), newEvent()], 'none');
    assert.equal(await store.isDeleted(stream), false);
    server.deleteForGood(stream);
    server.deleteForGood(stream);
    assert.equal(await store.isDeleted(stream), true);
    await assert.rejects(store.read(stream), StreamDeleted);
    await assert.rejects(store.append(stream, [newEvent()], 1), StreamDeleted);
    await assert.rejects(store.eraseBefore(stream, 1), StreamDeleted);
    assert.equal((await source.countAfter(0, null)).events, 3);
    server.scavenge();
    assert.equal((await source.countAfter(0, null)).events, 1);
  });

  it('leaves gaps in the log where it was scavenged, and gives no position twice', async () => {
    const { server, store, source } = eventStore();
    const stream = newStream();
    const [first, second] = await store.append(stream, [newEvent(), newEvent()], 'none');
    await store.eraseBefore(stream, 2);
    server.scavenge();
    assert.equal(await source.eventAt(0, first?.position as string), 'unknown');
    assert.deepEqual(await source.ends(), new Map([[0, null]]));
    const [third] = await store.append(stream, [newEvent()], 1);
    assert.ok(Number(third?.position) > Number(second?.position));
  });
});

/** As Kafka 4 and the consumer of `infrastructure/kafka` do. */
describe('The model of Kafka answers as a server does', () => {
  it('forgets its oldest messages and says up to where', async () => {
    const { server, log, source } = telemetryLog(1);
    const device = newDevice();
    const positions: string[] = [];
    for (let n = 0; n < 10; n += 1) {
      const [at] = await log.publish(newPublication([reading(device, n)]));
      positions.push(at?.position as string);
    }
    assert.deepEqual(await source.expired(), new Map([[0, null]]));
    server.expire(0.5);
    assert.deepEqual(await source.expired(), new Map([[0, positions[4]]]));
    assert.equal(await source.eventAt(0, positions[0] as string), 'unknown');
    assert.equal((await source.countAfter(0, null)).events, 5);
    server.expire(1);
    assert.deepEqual(await source.ends(), new Map([[0, positions[9]]]));
    assert.equal(server.partitions[0]?.length, 10, 'all there ever was');
  });
});
