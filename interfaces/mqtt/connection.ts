import type { Socket } from 'node:net';
import { generate, type IConnectPacket, type IPublishPacket, type Packet, parser } from 'mqtt-packet';
import type { Log } from '../../application/ports/system.ts';
import type { MqttMetrics } from './mqtt-metrics.ts';
import type { Publication, PublicationOutcome } from './publications.ts';
import { isGranted } from './topics.ts';

/** Unacknowledged publications of one connection. */
const receiveMaximum = 100;
const topicAliasMaximum = 10;
const connectWithin = 5000;
const longestKeepAlive = 300;

/** Reason codes of DISCONNECT in MQTT 5. */
export const disconnects = {
  notAuthorized: 0x87,
  serverBusy: 0x89,
  shuttingDown: 0x8b,
  takenOver: 0x8e,
  malformed: 0x81,
  protocolError: 0x82,
  aliasInvalid: 0x94,
  tooLarge: 0x95,
  payloadInvalid: 0x99,
  qosNotSupported: 0x9b,
} as const;

type Version = 3 | 4 | 5;

/** The answer to a CONNECT: the code of 3.1.1, and of 5. */
export type ConnectRefusal = { readonly old: 2 | 3 | 4 | 5; readonly code: number; readonly result: string };

/** What a connection asks of the server that holds it. */
export type ConnectionHost = {
  readonly log: Log;
  readonly metrics: MqttMetrics;
  readonly maxPacketBytes: number;
  /** Closes at a publication that was rejected, where the version has no way to say so. */
  readonly isStrict: boolean;
  /** Answers with a refusal, or takes the connection in. */
  admit(packet: IConnectPacket, connection: MqttConnection): Promise<ConnectRefusal | undefined>;
  /** Resolves once durable; rejects when the connection is to end with the reason code. */
  take(batch: readonly Publication[], connection: MqttConnection): Promise<readonly PublicationOutcome[]>;
  /** Whether there is room for bytes that are not durable yet. */
  hasRoom(): boolean;
  holds(bytes: number): void;
  closed(connection: MqttConnection): void;
};

type Pending = {
  readonly packet: IPublishPacket;
  readonly publication: Publication;
  readonly bytes: number;
  readonly at: number;
};

/** One client: reads packets, has publications taken a batch at a time, and acknowledges them in their order. */
export class MqttConnection {
  clientId = '';
  /** The client id together with whose it is: nobody can close the connection of another. */
  session = '';
  version: Version = 4;
  readonly #socket: Socket;
  readonly #host: ConnectionHost;
  readonly #parser = parser() as ReturnType<typeof parser> & { readonly packet: { readonly length: number } };
  readonly #aliases = new Map<number, string>();
  /** Packet ids of QoS 2 that are durable and not yet released. */
  readonly #unreleased = new Set<number>();
  #waiting: Pending[] = [];
  #inFlight = 0;
  /** Packets that came behind the CONNECT before it was answered, as clients may send them. */
  readonly #early: Packet[] = [];
  #isAdmitting = false;
  #isConnected = false;
  #isTaking = false;
  #isEnding = false;
  #isPaused = false;
  #isStopping = false;
  #will: IConnectPacket['will'];
  readonly #timer: NodeJS.Timeout;

  constructor(socket: Socket, host: ConnectionHost) {
    this.#socket = socket;
    this.#host = host;
    this.#timer = setTimeout(() => socket.destroy(), connectWithin);
    this.#parser.on('packet', (packet) => this.#receive(packet));
    this.#parser.on('error', () => this.end(disconnects.malformed));
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => this.resume());
    socket.on('timeout', () => this.#silent());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#closed());
  }

  get inFlight(): number {
    return this.#waiting.length + this.#inFlight;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Ends it, in MQTT 5 with the reason. */
  end(code: number): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    if (this.#isConnected && this.version === 5) this.#send({ cmd: 'disconnect', reasonCode: code });
    this.#socket.end();
    // One that does not close its half is not waited for.
    setTimeout(() => this.#socket.destroy(), 1000).unref();
  }

  /** Reads on, if there is room. */
  resume(): void {
    if (!this.#isPaused || this.#isStopping || !this.#hasRoom()) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  /** Stops reading: the server is about to stop. */
  pause(): void {
    this.#isStopping = true;
    this.#socket.pause();
  }

  #read(chunk: Buffer): void {
    if (this.#isEnding) return;
    this.#parser.parse(chunk);
    if (this.#parser.packet.length > this.#host.maxPacketBytes) return void this.end(disconnects.tooLarge);
    if (this.#hasRoom()) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  /** What a client does not read of its answers takes room as well. */
  #hasRoom(): boolean {
    return this.inFlight < receiveMaximum && this.#host.hasRoom() && !this.#socket.writableNeedDrain;
  }

  #receive(packet: Packet): void {
    if (this.#isEnding) return;
    if (packet.cmd === 'connect') return void this.#connect(packet);
    if (this.#isAdmitting) return void this.#early.push(packet);
    if (!this.#isConnected) return void this.end(disconnects.protocolError);
    if (packet.cmd === 'publish') return void this.#publish(packet);
    if (packet.cmd === 'pubrel') {
      this.#unreleased.delete(packet.messageId ?? 0);
      return void this.#send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 });
    }
    if (packet.cmd === 'pingreq') return void this.#send({ cmd: 'pingresp' });
    if (packet.cmd === 'subscribe') {
      const refused = this.version === 5 ? disconnects.notAuthorized : 0x80;
      const granted = packet.subscriptions.map(({ topic, qos }) =>
        isGranted(topic) ? Math.min(qos, 1) : refused,
      );
      return void this.#send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted });
    }
    if (packet.cmd === 'unsubscribe')
      return void this.#send({
        cmd: 'unsuback',
        messageId: packet.messageId ?? 0,
        granted: packet.unsubscriptions.map(() => 0),
      });
    if (packet.cmd !== 'disconnect') return void this.end(disconnects.protocolError);
    if (packet.reasonCode !== 4) this.#will = undefined;
    this.#isEnding = true;
    this.#socket.end();
  }

  async #connect(packet: IConnectPacket): Promise<void> {
    if (this.#isConnected || this.#isAdmitting) return void this.end(disconnects.protocolError);
    this.#isAdmitting = true;
    this.version = packet.protocolVersion ?? 4;
    this.clientId = packet.clientId;
    const refusal = await this.#host.admit(packet, this).catch((err) => {
      this.#host.log.warn({ err }, 'MQTT client could not be checked');
      return { old: 3, code: 0x88, result: 'unavailable' } as const;
    });
    clearTimeout(this.#timer);
    this.#isAdmitting = false;
    this.#host.metrics.connected(refusal?.result ?? 'accepted', this.version);
    if (refusal) {
      const code = this.version === 5 ? { reasonCode: refusal.code } : { returnCode: refusal.old };
      this.#send({ cmd: 'connack', sessionPresent: false, ...code });
      this.#isEnding = true;
      return void this.#socket.end();
    }
    this.#isConnected = true;
    this.#will = packet.will;
    const asked = packet.keepalive ?? 0;
    const keepAlive = asked === 0 ? longestKeepAlive : asked;
    this.#socket.setTimeout(keepAlive * 1500);
    this.#send(this.#connack(packet, asked === 0 ? keepAlive : undefined));
    for (const early of this.#early.splice(0)) this.#receive(early);
  }

  #connack({ clientId }: IConnectPacket, serverKeepAlive: number | undefined): Packet {
    if (this.version !== 5) return { cmd: 'connack', sessionPresent: false, returnCode: 0 };
    return {
      cmd: 'connack',
      sessionPresent: false,
      reasonCode: 0,
      properties: {
        sessionExpiryInterval: 0,
        receiveMaximum,
        maximumQoS: 1,
        retainAvailable: false,
        maximumPacketSize: this.#host.maxPacketBytes,
        topicAliasMaximum,
        wildcardSubscriptionAvailable: false,
        subscriptionIdentifiersAvailable: false,
        sharedSubscriptionAvailable: false,
        ...(clientId === '' && { assignedClientIdentifier: this.clientId }),
        ...(serverKeepAlive !== undefined && { serverKeepAlive }),
      },
    };
  }

  #publish(packet: IPublishPacket): void {
    if (packet.qos === 2 && this.version === 5) return void this.end(disconnects.qosNotSupported);
    const topic = this.#topicOf(packet);
    if (topic === undefined) return void this.end(disconnects.aliasInvalid);
    const messageId = packet.messageId ?? 0;
    if (packet.qos === 2 && this.#unreleased.has(messageId))
      return void this.#send({ cmd: 'pubrec', messageId });
    if (packet.qos === 0 && (this.inFlight >= 2 * receiveMaximum || !this.#host.hasRoom()))
      return void this.#host.metrics.published(0, 'dropped_qos0');
    const payload = Buffer.from(packet.payload);
    const repeat = { client: this.session, messageId, isDup: packet.dup };
    this.#add(packet, {
      topic,
      payload,
      contentType: packet.properties?.contentType,
      ...(packet.qos > 0 && { repeat }),
    });
  }

  #add(packet: IPublishPacket, publication: Publication): void {
    const bytes = publication.payload.length + publication.topic.length + 200;
    this.#host.holds(bytes);
    this.#waiting.push({ packet, publication, bytes, at: performance.now() });
    // What else is in the same chunk comes along.
    if (!this.#isTaking) {
      this.#isTaking = true;
      queueMicrotask(() => void this.#takeAll());
    }
  }

  async #takeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      this.#inFlight = batch.length;
      try {
        const outcomes = await this.#host.take(
          batch.map(({ publication }) => publication),
          this,
        );
        this.#acknowledge(batch, outcomes);
      } catch (error) {
        this.#host.log.warn({ err: error, clientId: this.clientId }, 'MQTT client closed, it sends again');
        this.end(disconnects.serverBusy);
        batch.push(...this.#waiting.splice(0));
      } finally {
        this.#inFlight = 0;
        this.#host.holds(-batch.reduce((sum, { bytes }) => sum + bytes, 0));
      }
      this.resume();
    }
    this.#isTaking = false;
  }

  #acknowledge(batch: readonly Pending[], outcomes: readonly PublicationOutcome[]): void {
    const now = performance.now();
    this.#socket.cork();
    let isRejected = false;
    for (const [i, { packet, at }] of batch.entries()) {
      const { code, detail } = outcomes[i] as PublicationOutcome;
      isRejected ||= code >= 0x80;
      this.#host.metrics.published(packet.qos, code < 0x80 ? 'accepted' : 'rejected');
      if (packet.qos === 0) continue;
      this.#host.metrics.acknowledged((now - at) / 1000);
      const messageId = packet.messageId ?? 0;
      if (isRejected && this.#host.isStrict && this.version !== 5) break;
      if (packet.qos === 2) {
        this.#unreleased.add(messageId);
        this.#send({ cmd: 'pubrec', messageId });
      } else if (this.version !== 5 || (code === 0 && detail === undefined)) this.#puback(messageId);
      else
        this.#send({
          cmd: 'puback',
          messageId,
          reasonCode: code,
          ...(detail !== undefined && { properties: { reasonString: detail.slice(0, 300) } }),
        });
    }
    this.#socket.uncork();
    if (isRejected && this.#host.isStrict && this.version !== 5) this.end(disconnects.payloadInvalid);
  }

  /** The most frequent packet, the same in every version. */
  #puback(messageId: number): void {
    if (this.#socket.writable) this.#socket.write(Buffer.of(0x40, 2, messageId >> 8, messageId & 255));
  }

  /** `undefined` for an alias that stands for nothing. */
  #topicOf({ topic, properties }: IPublishPacket): string | undefined {
    const alias = properties?.topicAlias;
    if (alias === undefined) return topic;
    if (alias < 1 || alias > topicAliasMaximum) return undefined;
    if (topic === '') return this.#aliases.get(alias);
    this.#aliases.set(alias, topic);
    return topic;
  }

  /** A client that is not read from cannot show that it is there. */
  #silent(): void {
    if (!this.#isPaused || this.#socket.writableNeedDrain) this.#socket.destroy();
  }

  #send(packet: Packet): void {
    if (this.#socket.writable) this.#socket.write(generate(packet, { protocolVersion: this.version }));
  }

  #closed(): void {
    clearTimeout(this.#timer);
    this.#isEnding = true;
    const will = this.#isConnected ? this.#will : undefined;
    if (will) {
      const packet: IPublishPacket = {
        cmd: 'publish',
        qos: 0,
        dup: false,
        retain: false,
        topic: will.topic,
        payload: will.payload,
      };
      this.#add(packet, {
        topic: will.topic,
        payload: Buffer.from(will.payload),
        contentType: will.properties?.contentType,
      });
    }
    this.#host.closed(this);
  }
}
