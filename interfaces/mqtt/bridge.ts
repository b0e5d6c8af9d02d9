import { setTimeout as delay } from 'node:timers/promises';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import type { Registry } from 'prom-client';
import type { Ids, Log } from '../../application/ports/system.ts';
import type { TopicRule } from '../../infrastructure/config/form-variables.ts';
import type { Intake } from '../http/intake.ts';
import { problemKinds, problemOf } from '../http/problems.ts';
import { mqttBridgeMetrics } from './mqtt-metrics.ts';
import { type MqttRejections, type PublicationOutcome, reasons, takePublications } from './publications.ts';
import { topicCodecs } from './topics.ts';

type BridgeServices = {
  readonly intake: Intake;
  readonly rejections: MqttRejections;
  readonly ids: Ids;
  readonly log: Log;
  readonly metrics: Registry;
};

type BridgeOptions = {
  /** `mqtt://` or `mqtts://`, with user name and password. */
  readonly url: string;
  /** Nodes that have the same one share the publications among them; a subscription of this node alone when absent. */
  readonly share: string | undefined;
  /** Of this node alone, and the same at each start: what was not durable waits for it at the broker. */
  readonly clientId: string;
  /** What is subscribed to; topics that Fieldlog knows when empty. */
  readonly topics: readonly TopicRule[];
  readonly maxPacketBytes: number;
  readonly maxReadings: number;
  readonly tls?: Pick<IClientOptions, 'ca' | 'cert' | 'key'>;
  /** Time to the next attempt where the broker or the log cannot be reached, in milliseconds; 1 s when absent. */
  readonly retryMs?: number;
};

type MqttBridge = {
  /**
   * Resolves once the broker has granted the subscriptions, or could not be reached, which is tried on. Rejects where
   * the broker refuses.
   */
  open(): Promise<void>;
  /** Rejects unless every connection is subscribed. */
  check(): Promise<void>;
  /** What was received gets `drain` milliseconds to be durable; the broker sends the rest again. */
  close(drain: number): Promise<void>;
};

/** One acknowledges a publication at a time, in the order of arrival; several have their commits together. */
const sharing = 16;
/** Publications that the broker may have on the way to one connection. */
const receiveMaximum = 20;
/** Seconds for which the broker holds what a node that is gone has not acknowledged. */
const sessionExpiryInterval = 7 * 86_400;

const usualFilters = ['fieldlog/+/telemetry', 'fieldlog/+/senml'];

/**
 * Takes readings from a broker of others, by MQTT 5. A publication of QoS 1 or 2 is
 * acknowledged to the broker once its readings are durable; until then the broker has it.
 */
export function mqttBridge(services: BridgeServices, options: BridgeOptions): MqttBridge {
  const { log, ids } = services;
  const { retryMs = 1000 } = options;
  const filters = options.topics.length === 0 ? usualFilters : options.topics.map(({ filter }) => filter);
  const connections = options.share === undefined ? 1 : sharing;
  const shared = options.share === undefined ? '' : `$share/${options.share}/`;
  const subscriptions = filters.map((filter) => `${shared}${filter.replaceAll('{device}', '+')}`);
  const broker = new URL(options.url).host;
  const stopped = new AbortController();
  const links: Link[] = [];
  const metrics = mqttBridgeMetrics(services.metrics, () => ({
    connections: links.filter(({ isSubscribed }) => isSubscribed).length,
    inFlight: links.reduce((sum, { taking }) => sum + taking.size, 0),
  }));
  const takeBatch = takePublications({
    intake: services.intake,
    codecs: topicCodecs(options.topics),
    rejections: services.rejections,
    limits: { readings: options.maxReadings, samples: 10 * options.maxReadings },
    duplicate: metrics.duplicate,
  });

  return {
    async open() {
      links.push(link(1));
      const first = links[0] as Link;
      await Promise.race([first.settled.promise, delay(5000, undefined, { ref: false })]);
      for (let number = 2; number <= connections; number += 1) links.push(link(number));
    },

    async check() {
      const missing = links.filter(({ isSubscribed }) => !isSubscribed);
      if (missing.length === 0) return;
      const { fault = 'no answer yet' } = missing[0] as Link;
      const reason = `the MQTT broker ${broker} is not subscribed to: ${fault}`;
      throw Object.assign(new Error(reason), { reason });
    },

    async close(drain) {
      stopped.abort();
      const taken = Promise.all(links.flatMap(({ taking }) => [...taking]));
      await Promise.race([taken, delay(drain, undefined, { ref: false })]);
      await Promise.all(links.map(({ client }) => client.endAsync(!client.connected)));
    },
  };

  function link(number: number): Link {
    const client = mqtt.connect(options.url, {
      ...options.tls,
      protocolVersion: 5,
      clientId: `${options.clientId}-${number}`,
      clean: false,
      resubscribe: false,
      reconnectPeriod: retryMs,
      reconnectOnConnackError: true,
      connectTimeout: 10_000,
      keepalive: 30,
      properties: { sessionExpiryInterval, receiveMaximum, maximumPacketSize: options.maxPacketBytes },
      customHandleAcks: (_topic, _payload, packet, acknowledge) => {
        // On another connection the id of the packet may be that of another publication; what was not acknowledged
        // is sent again there.
        const { generation } = one;
        void take(packet, one).then((outcome) => {
          if (outcome && generation === one.generation) acknowledge(outcome.code);
          else if (outcome) acknowledge(new ConnectionLost(), 0);
        });
      },
    });
    // One of QoS 0 is not acknowledged, but the next is not read before it is durable.
    client.handleMessage = (packet, done) => {
      if (packet.qos > 0) return done();
      void take(packet, one).then(() => done());
    };
    const one = new Link(client);
    follow(one, number === 1);
    return one;
  }

  /** One line an outage: of the first connection, the others say the same. */
  function follow(one: Link, isLogged: boolean): void {
    const { client, settled } = one;
    client.on('connect', async () => {
      one.generation += 1;
      try {
        await client.subscribeAsync(subscriptions, { qos: 1 });
        one.isSubscribed = true;
        one.fault = undefined;
        if (isLogged) log.info({ broker, subscriptions }, 'mqtt broker subscribed');
        settled.resolve();
      } catch (error) {
        down(error as Error);
      }
    });
    client.on('disconnect', ({ reasonCode = 0 }) => {
      const text =
        reasonCode === takenOver
          ? `another client has the id ${client.options.clientId}: give each node a MQTT_BROKER_CLIENT_ID of its own`
          : `it closed the connection with the reason code ${reasonCode}`;
      down(new Error(text));
    });
    client.on('error', (error) => {
      if (!(error instanceof ConnectionLost)) down(error);
    });
    client.on('close', () => {
      one.generation += 1;
      if (!stopped.signal.aborted && one.fault === undefined) down(new Error('the connection was lost'));
    });

    function down(error: Error): void {
      const { code } = error as { readonly code?: unknown };
      const fault = error.message || String(code);
      if (isLogged && one.fault === undefined) log.warn({ broker, fault }, 'mqtt broker not subscribed');
      one.isSubscribed = false;
      one.fault = fault;
      // A reason code: the broker is there, and refuses.
      if (typeof code === 'number') settled.reject(error);
      else settled.resolve();
    }
  }

  /** Resolves once durable or rejected for good; with nothing where the bridge is closed before. */
  function take(packet: IPublishPacket, one: Link): Promise<PublicationOutcome | undefined> {
    const { signal } = stopped;
    if (signal.aborted) return Promise.resolve(undefined);
    const taking = takeUntilDurable(packet, one).finally(() => one.taking.delete(taking));
    one.taking.add(taking);
    return taking;
  }

  async function takeUntilDurable(
    packet: IPublishPacket,
    one: Link,
  ): Promise<PublicationOutcome | undefined> {
    const startedAt = performance.now();
    const { topic, qos, messageId = 0, dup, properties } = packet;
    const publication = {
      topic,
      payload: Buffer.from(packet.payload),
      contentType: properties?.contentType,
      ...(qos > 0 && { repeat: { client: one.client.options.clientId ?? '', messageId, isDup: dup } }),
    };
    const identity = { is: 'anyone' } as const;
    for (;;) {
      const caller = { correlationId: ids.uuidV7(), actor: 'mqtt-bridge' };
      try {
        const [outcome] = await takeBatch([publication], { identity, caller });
        metrics.published(qos, (outcome?.code ?? 0) < 0x80 ? 'accepted' : 'rejected');
        metrics.acknowledged((performance.now() - startedAt) / 1000);
        return outcome;
      } catch (error) {
        const { kind, message, extras } = problemOf(error);
        const isLimit = kind === 'rate-limited';
        if (!isLimit && problemKinds[kind].status < 500) {
          metrics.published(qos, 'rejected');
          return { code: reasons.payloadInvalid, detail: message };
        }
        if (kind === 'internal-error') log.error({ err: error }, 'mqtt publication failed unexpectedly');
        const wait = isLimit ? Number(extras.headers?.['Retry-After'] ?? 1) * 1000 : retryMs;
        await delay(wait, undefined, { signal: stopped.signal }).catch(() => {});
        if (stopped.signal.aborted) return undefined;
      }
    }
  }
}

/** A reason code of DISCONNECT. */
const takenOver = 0x8e;

/** The connection that a publication came by is gone. */
class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/** One connection to the broker. */
class Link {
  isSubscribed = false;
  /** What is wrong, for operators. */
  fault: string | undefined;
  /** Changes whenever a connection begins or ends. */
  generation = 0;
  /** Whether the first attempt has come to something; rejected where the broker refuses. */
  readonly settled = Promise.withResolvers<void>();
  readonly taking = new Set<Promise<unknown>>();
  readonly client: MqttClient;

  constructor(client: MqttClient) {
    this.client = client;
    this.settled.promise.catch(() => {});
  }
}
