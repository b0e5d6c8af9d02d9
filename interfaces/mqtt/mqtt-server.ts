import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import type { IConnectPacket } from 'mqtt-packet';
import type { Registry } from 'prom-client';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { TopicRule } from '../../infrastructure/config/form-variables.ts';
import type { Access } from '../http/access.ts';
import type { Intake } from '../http/intake.ts';
import type { Certificate } from '../http/listener.ts';
import { problemKinds, problemOf } from '../http/problems.ts';
import type { RateLimits } from '../http/rate-limits.ts';
import type { Identity } from '../http/request-context.ts';
import { type ConnectionHost, type ConnectRefusal, disconnects, MqttConnection } from './connection.ts';
import { mqttMetrics } from './mqtt-metrics.ts';
import {
  type MqttRejections,
  type Publication,
  type PublicationOutcome,
  reasons,
  takePublications,
} from './publications.ts';
import { topicCodecs } from './topics.ts';

export type MqttServices = {
  readonly intake: Intake;
  readonly access: Access;
  readonly rates: RateLimits | undefined;
  readonly rejections: MqttRejections;
  readonly ids: Ids;
  readonly log: Log;
  readonly metrics: Registry;
};

type MqttOptions = {
  readonly maxConnections: number;
  readonly maxPacketBytes: number;
  readonly maxReadings: number;
  readonly topics: readonly TopicRule[];
  readonly isStrict: boolean;
  /** TLS by it; plain when absent. */
  readonly certificate?: Certificate | undefined;
  /** How long publications may wait for a server that cannot be reached, in milliseconds; 30 s when absent. */
  readonly unavailableMs?: number;
  /** How often credentials are looked at again, in milliseconds; 2 s when absent. */
  readonly recheckMs?: number;
};

type Client = {
  readonly identity: Identity;
  readonly credential: string | undefined;
  readonly actor: string;
};

/** Bytes of all connections that are not durable yet; above it none is read from. */
const mostBytes = 64 * 1024 * 1024;

/**
 * An ingest endpoint for MQTT 3.1, 3.1.1 and 5, and no broker: nobody can subscribe. A publication of QoS 1 or 2 is
 * acknowledged once its readings are durable.
 */
export class MqttServer {
  readonly #services: MqttServices;
  readonly #maxConnections: number;
  readonly #unavailableMs: number;
  readonly #takeBatch: ReturnType<typeof takePublications>;
  readonly #server: Server | TlsServer;
  readonly #rechecking: NodeJS.Timeout;
  readonly #clients = new Map<MqttConnection, Client>();
  readonly #bySession = new Map<string, MqttConnection>();
  /** Those that are gone, while what they sent is not durable yet. */
  readonly #closing = new WeakMap<MqttConnection, Client>();
  #bytesHeld = 0;
  #isClosing = false;
  #isEnded = false;

  constructor(services: MqttServices, options: MqttOptions) {
    const { maxPacketBytes, maxReadings, isStrict, certificate, recheckMs = 2000 } = options;
    this.#services = services;
    this.#maxConnections = options.maxConnections;
    this.#unavailableMs = options.unavailableMs ?? 30_000;
    const metrics = mqttMetrics(services.metrics, () => ({
      connections: this.#clients.size,
      inFlight: this.#sumOf((connection) => connection.inFlight),
      paused: this.#sumOf((connection) => (connection.isPaused ? 1 : 0)),
    }));
    this.#takeBatch = takePublications({
      intake: services.intake,
      codecs: topicCodecs(options.topics),
      rejections: services.rejections,
      limits: { readings: maxReadings, samples: 10 * maxReadings },
      duplicate: metrics.duplicate,
    });
    const host: ConnectionHost = {
      ...{ log: services.log, metrics, maxPacketBytes, isStrict },
      admit: (packet, connection) => this.#admit(packet, connection),
      take: (batch, connection) => this.#take(batch, connection),
      hasRoom: () => this.#bytesHeld < mostBytes,
      holds: (bytes) => this.#holds(bytes),
      closed: (connection) => this.#closed(connection),
    };
    const open = (socket: Socket) => void new MqttConnection(socket, host);
    this.#server = certificate
      ? createTlsServer({ ...certificate, handshakeTimeout: 5000 }, open)
      : createServer(open);
    // Those that have not been admitted yet are bounded as well.
    this.#server.maxConnections = this.#maxConnections + 1000;
    this.#rechecking = setInterval(() => void this.#recheck(), recheckMs);
    this.#rechecking.unref();
  }

  async listen(port: number, host: string): Promise<AddressInfo> {
    this.#server.listen(port, host);
    await once(this.#server, 'listening');
    return this.#server.address() as AddressInfo;
  }

  renew(certificate: Certificate): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(certificate);
  }

  /** No connection is accepted any more; what is in flight gets `drain` milliseconds to be durable. */
  async close(drain: number): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#rechecking);
    const ended = once(this.#server, 'close');
    this.#server.close();
    const deadline = performance.now() + drain;
    for (const connection of this.#clients.keys()) connection.pause();
    while (this.#bytesHeld > 0 && performance.now() < deadline) await delay(10);
    this.#isEnded = true;
    for (const connection of this.#clients.keys()) connection.end(disconnects.shuttingDown);
    await ended;
  }

  #sumOf(count: (connection: MqttConnection) => number): number {
    let sum = 0;
    for (const connection of this.#clients.keys()) sum += count(connection);
    return sum;
  }

  #holds(bytes: number): void {
    const wasFull = this.#bytesHeld >= mostBytes;
    this.#bytesHeld += bytes;
    if (wasFull && this.#bytesHeld < mostBytes)
      for (const connection of this.#clients.keys()) connection.resume();
  }

  async #admit(packet: IConnectPacket, connection: MqttConnection): Promise<ConnectRefusal | undefined> {
    const { access, ids } = this.#services;
    if (this.#isClosing || this.#clients.size >= this.#maxConnections)
      return { old: 3, code: reasons.quotaExceeded, result: 'full' };
    const { username, password } = packet;
    const shown = [password?.toString(), username].filter((text) => text !== undefined && text !== '');
    for (const credential of shown.length === 0 ? [undefined] : shown) {
      const identity = await access.sender(credential);
      if (!identity) continue;
      const actor = actorOf(identity);
      if (connection.clientId === '') connection.clientId = ids.uuidV7();
      connection.session = `${actor}/${connection.clientId}`;
      this.#bySession.get(connection.session)?.end(disconnects.takenOver);
      this.#bySession.set(connection.session, connection);
      this.#clients.set(connection, { identity, credential, actor });
      return undefined;
    }
    return shown.length === 0
      ? { old: 4, code: 0x86, result: 'without-credentials' }
      : { old: 5, code: 0x87, result: 'not-authorized' };
  }

  async #take(
    batch: readonly Publication[],
    connection: MqttConnection,
  ): Promise<readonly PublicationOutcome[]> {
    const { ids, log, rates } = this.#services;
    const client = this.#clients.get(connection) ?? this.#closing.get(connection);
    if (!client) throw new Error('The client is gone');
    const { identity, actor } = client;
    const publisher = { identity, caller: { correlationId: ids.uuidV7(), actor } };
    const deadline = performance.now() + this.#unavailableMs;
    for (;;) {
      try {
        if (identity.is === 'device') rates?.spendTokenRequest(identity.deviceId);
        return await this.#takeBatch(batch, publisher);
      } catch (error) {
        const { kind, message, extras } = problemOf(error);
        const isLimit = kind === 'rate-limited';
        if (isLimit && connection.version === 5)
          return batch.map(() => ({ code: reasons.quotaExceeded, detail: message }));
        if (kind === 'internal-error') log.error({ err: error }, 'MQTT publications failed unexpectedly');
        else if (!isLimit && problemKinds[kind].status < 500)
          return batch.map(() => ({ code: reasons.payloadInvalid, detail: message }));
        const wait = isLimit ? Number(extras.headers?.['Retry-After'] ?? 1) * 1000 : 1000;
        if (this.#isEnded) throw error;
        if (!isLimit && performance.now() + wait > deadline) throw error;
        await delay(Math.min(wait, isLimit ? wait : this.#unavailableMs / 4));
      }
    }
  }

  #closed(connection: MqttConnection): void {
    const client = this.#clients.get(connection);
    this.#clients.delete(connection);
    if (this.#bySession.get(connection.session) === connection) this.#bySession.delete(connection.session);
    // What it sent before is taken in all the same.
    if (client && connection.inFlight > 0) this.#closing.set(connection, client);
  }

  /** Ends connections whose credential is no longer valid. */
  async #recheck(): Promise<void> {
    const { access, log } = this.#services;
    for (const [connection, { credential }] of [...this.#clients]) {
      try {
        if (!(await access.sender(credential))) connection.end(disconnects.notAuthorized);
      } catch (err) {
        log.warn({ err }, 'MQTT credentials cannot be checked, connections stay');
        return;
      }
    }
  }
}

function actorOf(identity: Identity): string {
  if (identity.is === 'key') return identity.key.name;
  return identity.is === 'device' ? `device:${identity.deviceId}` : 'anonymous';
}
