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
export class MqttBridge {
  readonly #services: BridgeServices;
  readonly #options: BridgeOptions & { readonly retryMs: number };
  readonly #subscriptions: readonly string[];
  /** Host and port, for operators. */
  readonly #broker: string;
  readonly #metrics: ReturnType<typeof mqttBridgeMetrics>;
  readonly #takeBatch: ReturnType<typeof takePublications>;
  readonly #stopped = new AbortController();
  readonly #links: Link[] = [];

  constructor(services: BridgeServices, options: BridgeOptions) {
    const { topics, share, url, maxReadings, retryMs = 1000 } = options;
    this.#services = services;
    this.#options = { ...options, retryMs };
    this.#broker = new URL(url).host;
    const filters = topics.length === 0 ? usualFilters : topics.map(({ filter }) => filter);
    const shared = share === undefined ? '' : `$share/${share}/`;
    this.#subscriptions = filters.map(
      (filter) => `${shared}${filter.replaceAll(/\{device\}|\{metric\}/g, '+')}`,
    );
    this.#metrics = mqttBridgeMetrics(services.metrics, () => ({
      connections: this.#links.filter(({ isSubscribed }) => isSubscribed).length,
      inFlight: this.#links.reduce((sum, { taking }) => sum + taking.size, 0),
    }));
    this.#takeBatch = takePublications({
      intake: services.intake,
      codecs: topicCodecs(topics),
      rejections: services.rejections,
      limits: { readings: maxReadings, samples: 10 * maxReadings },
      duplicate: this.#metrics.duplicate,
    });
  }

  /**
   * Resolves once the broker has granted the subscriptions, or could not be reached, which is tried on. Rejects where
   * the broker refuses.
   */
  async open(): Promise<void> {
    const first = this.#connect(1);
    await Promise.race([first.settled.promise, delay(5000, undefined, { ref: false })]);
    const connections = this.#options.share === undefined ? 1 : sharing;
    for (let number = 2; number <= connections; number += 1) this.#connect(number);
  }

  /** Rejects unless every connection is subscribed. */
  async check(): Promise<void> {
    const missing = this.#links.find(({ isSubscribed }) => !isSubscribed);
    if (!missing) return;
    const reason = `the MQTT broker ${this.#broker} is not subscribed to: ${missing.fault ?? 'no answer yet'}`;
    throw Object.assign(new Error(reason), { reason });
  }

  /** What was received gets `drain` milliseconds to be durable; the broker sends the rest again. */
  async close(drain: number): Promise<void> {
    this.#stopped.abort();
    const taken = Promise.all(this.#links.flatMap(({ taking }) => [...taking]));
    await Promise.race([taken, delay(drain, undefined, { ref: false })]);
    await Promise.all(this.#links.map(({ client }) => client.endAsync(!client.connected)));
  }

  #connect(number: number): Link {
    const { url, tls, clientId, retryMs, maxPacketBytes } = this.#options;
    const client = mqtt.connect(url, {
      ...tls,
      protocolVersion: 5,
      clientId: `${clientId}-${number}`,
      clean: false,
      resubscribe: false,
      reconnectPeriod: retryMs,
      reconnectOnConnackError: true,
      connectTimeout: 10_000,
      keepalive: 30,
      properties: { sessionExpiryInterval, receiveMaximum, maximumPacketSize: maxPacketBytes },
      customHandleAcks: (_topic, _payload, packet, acknowledge) => {
        // On another connection the id of the packet may be that of another publication; what was not acknowledged
        // is sent again there.
        const { generation } = link;
        void this.#take(packet, link).then((outcome) => {
          if (outcome && generation === link.generation) acknowledge(outcome.code);
          else if (outcome) acknowledge(new ConnectionLost(), 0);
        });
      },
    });
    // One of QoS 0 is not acknowledged, but the next is not read before it is durable.
    client.handleMessage = (packet, done) => {
      if (packet.qos > 0) return done();
      void this.#take(packet, link).then(() => done());
    };
    const link = new Link(client);
    // One line an outage: of the first connection, the others say the same.
    const log = number === 1 ? this.#services.log : undefined;
    link.follow(this.#broker, this.#subscriptions, this.#stopped.signal, log);
    this.#links.push(link);
    return link;
  }

  /** Resolves once durable or rejected for good; with nothing where the bridge is closed before. */
  #take(packet: IPublishPacket, link: Link): Promise<PublicationOutcome | undefined> {
    if (this.#stopped.signal.aborted) return Promise.resolve(undefined);
    const taking = this.#takeUntilDurable(packet, link).finally(() => link.taking.delete(taking));
    link.taking.add(taking);
    return taking;
  }

  async #takeUntilDurable(packet: IPublishPacket, link: Link): Promise<PublicationOutcome | undefined> {
    const { ids, log } = this.#services;
    const { signal } = this.#stopped;
    const startedAt = performance.now();
    const { topic, qos, messageId = 0, dup, properties } = packet;
    const publication = {
      topic,
      payload: Buffer.from(packet.payload),
      contentType: properties?.contentType,
      ...(qos > 0 && { repeat: { client: link.client.options.clientId ?? '', messageId, isDup: dup } }),
    };
    const identity = { is: 'anyone' } as const;
    for (;;) {
      const caller = { correlationId: ids.uuidV7(), actor: 'mqtt-bridge' };
      try {
        const [outcome] = await this.#takeBatch([publication], { identity, caller });
        this.#metrics.published(qos, (outcome?.code ?? 0) < 0x80 ? 'accepted' : 'rejected');
        this.#metrics.acknowledged((performance.now() - startedAt) / 1000);
        return outcome;
      } catch (error) {
        const { kind, message, extras } = problemOf(error);
        const isLimit = kind === 'rate-limited';
        if (!isLimit && problemKinds[kind].status < 500) {
          this.#metrics.published(qos, 'rejected');
          return { code: reasons.payloadInvalid, detail: message };
        }
        if (kind === 'internal-error') log.error({ err: error }, 'mqtt publication failed unexpectedly');
        const { retryMs } = this.#options;
        const wait = isLimit ? Number(extras.headers?.['Retry-After'] ?? 1) * 1000 : retryMs;
        await delay(wait, undefined, { signal }).catch(() => {});
        if (signal.aborted) return undefined;
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

  /** Subscribes whenever it is connected, until `stopped`. */
  follow(broker: string, subscriptions: readonly string[], stopped: AbortSignal, log: Log | undefined): void {
    const { client } = this;
    const down = (error: Error) => {
      if (this.fault === undefined)
        log?.warn({ broker, fault: faultOf(error) }, 'mqtt broker not subscribed');
      this.#down(error);
    };
    client.on('connect', async () => {
      this.generation += 1;
      try {
        await client.subscribeAsync([...subscriptions], { qos: 1 });
        this.isSubscribed = true;
        this.fault = undefined;
        log?.info({ broker, subscriptions }, 'mqtt broker subscribed');
        this.settled.resolve();
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
      this.generation += 1;
      if (!stopped.aborted && this.fault === undefined) down(new Error('the connection was lost'));
    });
  }

  #down(error: Error): void {
    this.isSubscribed = false;
    this.fault = faultOf(error);
    // A reason code: the broker is there, and refuses.
    if (typeof codeOf(error) === 'number') this.settled.reject(error);
    else this.settled.resolve();
  }
}

const codeOf = (error: Error): unknown => (error as { readonly code?: unknown }).code;

const faultOf = (error: Error): string => error.message || String(codeOf(error));
