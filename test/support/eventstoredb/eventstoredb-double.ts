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
import { appendCall, batchAppendCall } from './append-calls.ts';
import { EventLog } from './event-log.ts';
import { Faults } from './faults.ts';
import { type ReadTraffic, readCall } from './read-call.ts';

export type DoubleOptions = {
  /** How long an append takes. */
  readonly delayMs?: number;
  /** PEM, of `localhost`: it then speaks TLS only. */
  readonly certificate?: { readonly cert: string; readonly key: string };
};

/**
 * EventStoreDB's gRPC protocol over a log in memory: what the client calls, answered as the server answers it, with
 * the client's own messages. It listens on loopback and fails on command.
 */
export class EventStoreDbDouble {
  readonly log = new EventLog();
  readonly faults: Faults;
  /** The names of the calls made so far, in order. */
  readonly calls: string[] = [];
  readonly traffic: ReadTraffic = { subscriptions: new Set(), eventsSent: 0, heldBack: 0 };
  readonly #server = new Server();
  readonly #injector: ConnectionInjector;
  readonly #sockets = new Set<net.Socket>();
  #listener: net.Server | undefined;
  #port = 0;
  readonly #isSecure: boolean;

  static async start(options: DoubleOptions = {}): Promise<EventStoreDbDouble> {
    const double = new EventStoreDbDouble(options);
    await double.listen();
    return double;
  }

  private constructor({ delayMs, certificate }: DoubleOptions) {
    this.#isSecure = certificate !== undefined;
    this.faults = new Faults(delayMs);
    this.#server.addService(ServerFeaturesService, {
      getSupportedMethods: this.#unary('GetSupportedMethods', supportedMethods),
    });
    this.#server.addService(GossipService, { read: this.#unary('Gossip', () => this.#clusterInfo()) });
    const read = readCall(this.log, this.faults, this.traffic);
    const append = appendCall(this.log, this.faults);
    const batchAppend = batchAppendCall(this.log, this.faults);
    this.#server.addService(StreamsService, {
      read: (call: Parameters<typeof read>[0]) => {
        this.calls.push('Read');
        read(call);
      },
      append: (call: Parameters<typeof append>[0], answer: Parameters<typeof append>[1]) => {
        this.calls.push('Append');
        append(call, answer);
      },
      batchAppend: (call: Parameters<typeof batchAppend>[0]) => {
        this.calls.push('BatchAppend');
        batchAppend(call);
      },
    });
    this.#injector = this.#server.createConnectionInjector(
      certificate
        ? ServerCredentials.createSsl(null, [
            { cert_chain: Buffer.from(certificate.cert), private_key: Buffer.from(certificate.key) },
          ])
        : ServerCredentials.createInsecure(),
    );
  }

  /** Connection string of a single node. */
  get url(): string {
    return this.#isSecure
      ? `esdb://localhost:${this.#port}?tls=true`
      : `esdb://127.0.0.1:${this.#port}?tls=false`;
  }

  /** Connection string that asks for the cluster's nodes first; gives up after one attempt. */
  get clusterUrl(): string {
    return `esdb+discover://127.0.0.1:${this.#port}?tls=false&maxDiscoverAttempts=1&discoveryInterval=1&gossipTimeout=1`;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Listens, on the same port as before. */
  async listen(): Promise<void> {
    const listener = net.createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      this.#injector.injectConnection(socket);
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

  /** Ends every subscription with an error, by default that of a consumer which did not keep up. */
  dropSubscriptions(
    code: status = status.ABORTED,
    details = 'Operation timed out: Consumer too slow to handle event while live. Client resubscription required.',
  ): void {
    for (const call of this.traffic.subscriptions)
      call.emit('error', { code, details, metadata: new Metadata() });
    this.traffic.subscriptions.clear();
    this.log.wake();
  }

  async stop(): Promise<void> {
    await this.kill();
    this.#server.forceShutdown();
  }

  #unary<Request, Response>(name: string, answer: () => Response): handleUnaryCall<Request, Response> {
    return (call, callback) => {
      this.calls.push(name);
      if (!this.faults.ignores(call)) callback(null, answer());
    };
  }

  #clusterInfo(): gossip.ClusterInfo {
    const member = new gossip.MemberInfo();
    member.setInstanceId(new shared.UUID().setString('00000000-0000-4000-8000-000000000001'));
    member.setTimeStamp(String(BigInt(Date.now()) * 10_000n));
    member.setState(gossip.MemberInfo.VNodeState.LEADER);
    member.setIsAlive(true);
    member.setHttpEndPoint(new gossip.EndPoint().setAddress('127.0.0.1').setPort(this.#port));
    return new gossip.ClusterInfo().setMembersList([member]);
  }
}

function supportedMethods(): features.SupportedMethods {
  const methods = Object.values(StreamsService).map(({ path }: { path: string }) => {
    const [, service = '', method = ''] = path.split('/');
    // The server names both in lower case.
    return new features.SupportedMethod().setServiceName(service).setMethodName(method.toLowerCase());
  });
  return new features.SupportedMethods().setEventStoreServerVersion('24.10.0').setMethodsList(methods);
}
