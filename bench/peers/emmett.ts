import { CommandHandler, type Event } from '@event-driven-io/emmett';
import { getEventStoreDBEventStore } from '@event-driven-io/emmett-esdb';
import { EventStoreDBClient } from '@eventstore/db-client';
import { inFlight } from '../harness/in-flight.ts';
import { serveCalls } from '../harness/peer.ts';
import { deviceDetails } from '../harness/workload.ts';

export type EmmettPeer = typeof calls;
const calls = { open, register, change };
serveCalls(calls);

type DeviceEvent =
  | Event<'DeviceRegistered', { deviceId: string; name: string; type: string }>
  | Event<'DeviceDetailsChanged', { deviceId: string; name: string }>;

type Device = { readonly name: string | undefined };

/** The same aggregate as far as a change needs it. */
const handle = CommandHandler<Device, DeviceEvent>({
  evolve: (_, { data: { name } }) => ({ name }),
  initialState: () => ({ name: undefined }),
});

let store: ReturnType<typeof getEventStoreDBEventStore> | undefined;

function open({ url }: { url: string }): void {
  store = getEventStoreDBEventStore(EventStoreDBClient.connectionString(url));
}

function opened(): NonNullable<typeof store> {
  if (!store) throw new Error('No store is open');
  return store;
}

/** Registers devices, so many at a time; resolves with how many a second. */
function register({ ids, atOnce }: { ids: readonly string[]; atOnce: number }): Promise<number> {
  return timed(ids.length, atOnce, (n) => {
    const deviceId = ids[n] as string;
    const registered: DeviceEvent = { type: 'DeviceRegistered', data: { deviceId, ...deviceDetails } };
    return handle(opened(), `emmett-${deviceId}`, ({ name }) => {
      if (name !== undefined) throw new Error('It is registered');
      return registered;
    });
  });
}

/** Renames devices in turn, so many at a time; resolves with how many changes a second. */
function change(asked: {
  ids: readonly string[];
  changes: number;
  atOnce: number;
  round: number;
}): Promise<number> {
  const { ids, changes, atOnce, round } = asked;
  return timed(changes, atOnce, (n) => {
    const deviceId = ids[n % ids.length] as string;
    const name = `Boiler ${round} ${n}`;
    return handle(opened(), `emmett-${deviceId}`, (device) => {
      if (device.name === undefined) throw new Error('It is not registered');
      return { type: 'DeviceDetailsChanged', data: { deviceId, name } };
    });
  });
}

async function timed(count: number, atOnce: number, work: (n: number) => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await inFlight(count, atOnce, async (n) => void (await work(n)));
  return (count * 1000) / (performance.now() - began);
}
