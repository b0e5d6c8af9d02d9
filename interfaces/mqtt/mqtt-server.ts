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

type MqttServer = {
  listen(port: number, host: string): Promise<AddressInfo>;
  renew(certificate: Certificate): void;
  /** No connection is accepted any more; what is in flight gets `drain` milliseconds to be durable. */
  close(drain: number): Promise<void>;
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
export function mqttServer(services: MqttServices, options: MqttOptions): MqttServer {
  const { access, log, ids, rejections } = services;
  const { maxConnections, maxPacketBytes, isStrict, certificate } = options;
  const { unavailableMs = 30_000, recheckMs = 2000 } = options;
  const clients = new Map<MqttConnection, Client>();
  const byId = new Map<string, MqttConnection>();
  /** Those that are gone, while what they sent is not durable yet. */
  const closing = new WeakMap<MqttConnection, Client>();
  let bytesHeld = 0;
  let isClosing = false;
  let isEnded = false;
  const metrics = mqttMetrics(services.metrics, () => ({
    connections: clients.size,
    inFlight: sumOf((connection) => connection.inFlight),
    paused: sumOf((connection) => (connection.isPaused ? 1 : 0)),
  }));
  const takeBatch = takePublications({
    intake: services.intake,
    codecs: topicCodecs(options.topics),
    rejections,
    limits: { readings: options.maxReadings, samples: 10 * options.maxReadings },
    duplicate: metrics.duplicate,
  });
  const host: ConnectionHost = {
    ...{ log, metrics, maxPacketBytes, isStrict },
    admit,
    take,
    hasRoom: () => bytesHeld < mostBytes,
    holds(bytes) {
      const wasFull = bytesHeld >= mostBytes;
      bytesHeld += bytes;
      if (wasFull && bytesHeld < mostBytes) for (const connection of clients.keys()) connection.resume();
    },
    closed,
  };
  const open = (socket: Socket) => void new MqttConnection(socket, host);
  const server: Server | TlsServer = certificate
    ? createTlsServer({ ...certificate, handshakeTimeout: 5000 }, open)
    : createServer(open);
  // Those that have not been admitted yet are bounded as well.
  server.maxConnections = maxConnections + 1000;
  const rechecking = setInterval(() => void recheck(), recheckMs);
  rechecking.unref();

  return {
    async listen(port, address) {
      server.listen(port, address);
      await once(server, 'listening');
      return server.address() as AddressInfo;
    },
    renew(renewed) {
      if ('setSecureContext' in server) server.setSecureContext(renewed);
    },
    close,
  };

  function sumOf(count: (connection: MqttConnection) => number): number {
    let sum = 0;
    for (const connection of clients.keys()) sum += count(connection);
    return sum;
  }

  async function admit(
    packet: IConnectPacket,
    connection: MqttConnection,
  ): Promise<ConnectRefusal | undefined> {
    if (isClosing || clients.size >= maxConnections)
      return { old: 3, code: reasons.quotaExceeded, result: 'full' };
    const { username, password } = packet;
    const shown = [password?.toString(), username].filter((text) => text !== undefined && text !== '');
    for (const credential of shown.length === 0 ? [undefined] : shown) {
      const identity = await access.sender(credential);
      if (!identity) continue;
      const actor =
        identity.is === 'key'
          ? identity.key.name
          : identity.is === 'device'
            ? `device:${identity.deviceId}`
            : 'anonymous';
      if (connection.clientId === '') connection.clientId = ids.uuidV7();
      connection.session = `${actor}/${connection.clientId}`;
      byId.get(connection.session)?.end(disconnects.takenOver);
      byId.set(connection.session, connection);
      clients.set(connection, { identity, credential, actor });
      return undefined;
    }
    return shown.length === 0
      ? { old: 4, code: 0x86, result: 'without-credentials' }
      : { old: 5, code: 0x87, result: 'not-authorized' };
  }

  async function take(
    batch: readonly Publication[],
    connection: MqttConnection,
  ): Promise<readonly PublicationOutcome[]> {
    const client = clients.get(connection) ?? closing.get(connection);
    if (!client) throw new Error('The client is gone');
    const { identity, actor } = client;
    const publisher = { identity, caller: { correlationId: ids.uuidV7(), actor } };
    const deadline = performance.now() + unavailableMs;
    for (;;) {
      try {
        if (identity.is === 'device') services.rates?.spendTokenRequest(identity.deviceId);
        return await takeBatch(batch, publisher);
      } catch (error) {
        const { kind, message, extras } = problemOf(error);
        const isLimit = kind === 'rate-limited';
        if (isLimit && connection.version === 5)
          return batch.map(() => ({ code: reasons.quotaExceeded, detail: message }));
        if (kind === 'internal-error') log.error({ err: error }, 'MQTT publications failed unexpectedly');
        else if (!isLimit && problemKinds[kind].status < 500)
          return batch.map(() => ({ code: reasons.payloadInvalid, detail: message }));
        const wait = isLimit ? Number(extras.headers?.['Retry-After'] ?? 1) * 1000 : 1000;
        if (isEnded) throw error;
        if (!isLimit && performance.now() + wait > deadline) throw error;
        await delay(Math.min(wait, isLimit ? wait : unavailableMs / 4));
      }
    }
  }

  function closed(connection: MqttConnection): void {
    const client = clients.get(connection);
    clients.delete(connection);
    if (byId.get(connection.session) === connection) byId.delete(connection.session);
    // What it sent before is taken in all the same.
    if (client && connection.inFlight > 0) closing.set(connection, client);
  }

  /** A credential that is no longer good ends its connection. */
  async function recheck(): Promise<void> {
    for (const [connection, { credential }] of [...clients]) {
      try {
        if (!(await access.sender(credential))) connection.end(disconnects.notAuthorized);
      } catch (err) {
        log.warn({ err }, 'MQTT credentials cannot be checked, connections stay');
        return;
      }
    }
  }

  async function close(drain: number): Promise<void> {
    isClosing = true;
    clearInterval(rechecking);
    const ended = once(server, 'close');
    server.close();
    const deadline = performance.now() + drain;
    for (const connection of clients.keys()) connection.pause();
    while (bytesHeld > 0 && performance.now() < deadline) await delay(10);
    isEnded = true;
    for (const connection of clients.keys()) connection.end(disconnects.shuttingDown);
    await ended;
  }
}
