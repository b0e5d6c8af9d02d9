import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { GossipService } from '@eventstore/db-client/generated/gossip_grpc_pb.js';
import gossip from '@eventstore/db-client/generated/gossip_pb.js';
import { ServerFeaturesService } from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js';
import features from '@eventstore/db-client/generated/serverfeatures_pb.js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import { StreamsService } from '@eventstore/db-client/generated/streams_grpc_pb.js';
import {
  type ConnectionInjector,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  status,
} from '@grpc/grpc-js';
import { Faults } from './faults.ts';
import type { LogCopy } from './model/log.ts';
import { type Endpoint, type Member, Membership } from './model/membership.ts';
import { StoreModel } from './model/store.ts';
import { Node } from './node.ts';
import { type ReadTraffic, readCall } from './read-calls.ts';
import { appendCall, batchAppendCall, deleteCall, tombstoneCall } from './write-calls.ts';

export type DoubleOptions = {
  /** How long an append takes. */
  readonly delayMs?: number;
  /** PEM, of `localhost`: it then speaks TLS only. The client sends a user and a password by TLS alone. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Whether it says when a subscription has reached the end of the log, as servers before 23.10 do not. */
  readonly caughtUp?: boolean;
  /** What it shares with the other nodes of a cluster. */
  readonly store?: StoreModel;
  readonly membership?: Membership;
};

/** Of the server whose answers were observed, and are given here. */
export const knownVersion = '23.10.6';

const largestMessage = 16 * 1024 * 1024;

/**
 * EventStoreDB's gRPC protocol over a store in memory: what the client calls, answered as the server answers it, with
 * the client's own messages. It listens on loopback and fails on command.
 */
export class EventStoreDbDouble implements Member {
  readonly instanceId = randomUUID();
  readonly store: StoreModel;
  readonly faults: Faults;
  /** The names of the calls made so far, in order. */
  readonly calls: string[] = [];
  readonly traffic: ReadTraffic = {
    subscriptions: new Set(),
    eventsSent: 0,
    eventsConsidered: 0,
    heldBack: 0,
  };
  readonly #membership: Membership;
  readonly #node: Node;
  readonly #server = new Server({ 'grpc.max_receive_message_length': largestMessage });
  readonly #injector: ConnectionInjector;
  readonly #sockets = new Set<net.Socket>();
  #listener: net.Server | undefined;
  #port = 0;
  readonly #isSecure: boolean;
  readonly #version: string;

  static async start(options: DoubleOptions = {}): Promise<EventStoreDbDouble> {
    const double = new EventStoreDbDouble(options);
    await double.listen();
    return double;
  }

  private constructor({
    delayMs,
    certificate,
    caughtUp = true,
    store = new StoreModel(),
    membership = new Membership(),
  }: DoubleOptions) {
    this.#isSecure = certificate !== undefined;
    this.#version = caughtUp ? knownVersion : '22.10.5';
    this.store = store;
    this.faults = new Faults(delayMs);
    this.#membership = membership;
    membership.join(this);
    const node = new Node(store, this.faults, membership, this);
    this.#node = node;
    this.#server.addService(ServerFeaturesService, {
      getSupportedMethods: this.#unary('GetSupportedMethods', () => supportedMethods(this.#version)),
    });
    this.#server.addService(GossipService, { read: this.#unary('Gossip', () => clusterInfo(membership)) });
    this.#server.addService(StreamsService, {
      read: this.#counted('Read', readCall(node, this.traffic, caughtUp)),
      append: this.#counted('Append', appendCall(node)),
      batchAppend: this.#counted('BatchAppend', batchAppendCall(node)),
      delete: this.#counted('Delete', deleteCall(node)),
      tombstone: this.#counted('Tombstone', tombstoneCall(node)),
    });
    this.#injector = this.#server.createConnectionInjector(
      certificate
        ? ServerCredentials.createSsl(null, [
            { cert_chain: Buffer.from(certificate.cert), private_key: Buffer.from(certificate.key) },
          ])
        : ServerCredentials.createInsecure(),
    );
  }

  /** Connection string of a single node, without a user. */
  get url(): string {
    return this.urlOf();
  }

  /** Connection string of a single node, for a user whose `name:password` it is, percent-encoded. */
  urlOf(user?: string): string {
    const { address, port } = this.endpoint();
    return `esdb://${user ? `${user}@` : ''}${address}:${port}?tls=${this.#isSecure}`;
  }

  /** Connection string that asks for the cluster's nodes first; gives up after one attempt. */
  get clusterUrl(): string {
    return `esdb+discover://127.0.0.1:${this.#port}?tls=false&maxDiscoverAttempts=1&discoveryInterval=1&gossipTimeout=1`;
  }

  endpoint(): Endpoint {
    return { address: this.#isSecure ? 'localhost' : '127.0.0.1', port: this.#port };
  }

  isAlive(): boolean {
    return this.#listener !== undefined && !this.faults.isFrozen;
  }

  catchUp(): void {
    this.#node.catchUp();
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Listens, on the same port as before. */
  async listen(): Promise<void> {
    const listener = net.createServer(async (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
      await this.faults.running();
      if (!socket.destroyed) this.#injector.injectConnection(socket);
    });
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#listener = listener;
    this.#port = (listener.address() as net.AddressInfo).port;
  }

  /** As a host that vanished: nothing is answered any more on the connections there are. New ones do well. */
  muteConnections(): void {
    for (const { remoteAddress, remotePort } of this.#sockets)
      this.faults.muted.add(`${remoteAddress}:${remotePort}`);
  }

  /** As a kill does: connections are gone in the middle of whatever they did. New ones are still taken. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** As a kill does, with nothing listening afterwards until `listen`. */
  async kill(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    const closed = new Promise((resolve) => (listener ? listener.close(resolve) : resolve(undefined)));
    this.dropConnections();
    await closed;
  }

  /** As an operator who puts a backup back: the server is stopped, its data replaced, and started again. */
  async putBack(copy: LogCopy): Promise<void> {
    await this.kill();
    this.store.putBack(copy);
    await this.listen();
  }

  /** No quorum, or still starting: it takes no writes and has no leader. `ready` ends it. */
  unready(): void {
    this.#membership.elect(undefined);
  }

  ready(): void {
    this.#membership.elect(this);
  }

  /** Ends every subscription with an error, by default that of a consumer which did not keep up. */
  dropSubscriptions(
    code: status = status.ABORTED,
    details = 'Operation timed out: Consumer too slow to handle event while live. Client resubscription required.',
  ): void {
    for (const call of this.traffic.subscriptions)
      call.emit('error', { code, details, metadata: new Metadata() });
    this.traffic.subscriptions.clear();
    this.store.log.wake();
  }

  async stop(): Promise<void> {
    this.faults.thaw();
    await this.kill();
    this.#server.forceShutdown();
  }

  #unary<Request, Response>(name: string, answer: () => Response): handleUnaryCall<Request, Response> {
    return async (call, callback) => {
      this.calls.push(name);
      if (this.faults.ignores(call)) return;
      await this.faults.running();
      callback(null, answer());
    };
  }

  #counted<Parameters extends unknown[]>(
    name: string,
    handle: (...parameters: Parameters) => void,
  ): (...parameters: Parameters) => void {
    return (...parameters) => {
      this.calls.push(name);
      handle(...parameters);
    };
  }
}

function clusterInfo(membership: Membership): gossip.ClusterInfo {
  const { FOLLOWER, LEADER, UNKNOWN } = gossip.MemberInfo.VNodeState;
  const states = { leader: LEADER, follower: FOLLOWER, unknown: UNKNOWN };
  const members = membership.members.map((member) => {
    const info = new gossip.MemberInfo();
    const { address, port } = member.endpoint();
    info.setInstanceId(new shared.UUID().setString(member.instanceId));
    info.setTimeStamp(String(BigInt(Date.now()) * 10_000n));
    info.setState(states[membership.stateOf(member)]);
    info.setIsAlive(member.isAlive());
    info.setHttpEndPoint(new gossip.EndPoint().setAddress(address).setPort(port));
    return info;
  });
  return new gossip.ClusterInfo().setMembersList(members);
}

function supportedMethods(version: string): features.SupportedMethods {
  const methods = Object.values(StreamsService).map(({ path }: { path: string }) => {
    const [, service = '', method = ''] = path.split('/');
    // The server names both in lower case.
    return new features.SupportedMethod().setServiceName(service).setMethodName(method.toLowerCase());
  });
  return new features.SupportedMethods().setEventStoreServerVersion(version).setMethodsList(methods);
}
