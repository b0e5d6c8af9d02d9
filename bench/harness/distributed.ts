import { createConnection } from 'mysql2/promise';
import type { StandInPeer } from '../peers/eventstoredb.ts';
import type { Bench, ServerUrls } from './bench.ts';
import { type Peer, startPeer } from './peer.ts';
import { type Process, startFieldlog } from './process.ts';

let named = 0;

/** A name that nothing else on the servers has. */
export function unique(what: string): string {
  named += 1;
  return `bench-${what}-${process.pid}-${Date.now()}-${named}`;
}

export type Stores = Record<
  'EVENTSTORE_URL' | 'KAFKA_BROKERS' | 'KAFKA_TOPIC' | 'KAFKA_GROUP' | 'MYSQL_URL',
  string
>;

/** Stores of its own on the servers of the distributed profile, with a stand-in for EventStoreDB. */
export async function openStores(bench: Bench): Promise<Stores> {
  return {
    EVENTSTORE_URL: await startEventStoreDb(bench),
    KAFKA_BROKERS: serversOf(bench).kafka,
    KAFKA_TOPIC: unique('telemetry'),
    KAFKA_GROUP: unique('group'),
    MYSQL_URL: await newDatabase(bench),
  };
}

/** The same logs with new read models and a group that starts anew. */
export async function withNewReadModels(bench: Bench, stores: Stores): Promise<Stores> {
  return { ...stores, KAFKA_GROUP: unique('group'), MYSQL_URL: await newDatabase(bench) };
}

type Role = Process & { readonly url: string };
type Roles = Readonly<Record<'api' | 'devices' | 'telemetry', Role>>;

/** Every role of the distributed profile in a process of its own. */
export async function startRoles(
  bench: Bench,
  env: Stores & Readonly<Record<string, string>>,
): Promise<Roles> {
  return {
    api: bench.keep(await startFieldlog('api', env)),
    devices: bench.keep(await startFieldlog('device-projector', env)),
    telemetry: bench.keep(await startFieldlog('telemetry-projector', env)),
  };
}

export const startStandIn = (bench: Bench): Peer<StandInPeer> =>
  bench.keep(startPeer<StandInPeer>('eventstoredb', 'eventstoredb.ts'));

/** The server that the environment names, or the tests' stand-in, alone in a process. */
export async function startEventStoreDb(bench: Bench): Promise<string> {
  const { EVENTSTORE_URL } = process.env;
  if (EVENTSTORE_URL) return EVENTSTORE_URL;
  return startStandIn(bench).call('open', undefined);
}

export async function newDatabase(bench: Bench): Promise<string> {
  const own = new URL(serversOf(bench).mysql);
  // Of the names a user may be allowed to make databases of, those that begin with its own are the likeliest.
  own.pathname += `_${unique('models').replaceAll('-', '_')}`;
  const name = own.pathname.slice(1);
  await onServer(bench, `CREATE DATABASE ${name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`);
  bench.onClose(() => onServer(bench, `DROP DATABASE ${name}`));
  return own.href;
}

async function onServer(bench: Bench, statement: string): Promise<void> {
  const connection = await createConnection(serversOf(bench).mysql);
  await connection.query(statement);
  await connection.end();
}

export function serversOf({ options }: Bench): ServerUrls {
  if (!options.servers) throw new Error('This figure needs --profile distributed');
  return options.servers;
}
