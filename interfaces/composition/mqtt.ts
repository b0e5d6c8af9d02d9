import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { type Config, fileNamedBy } from '../../infrastructure/config/config.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import type { MqttEndpoint } from '../http/dashboard-routes.ts';
import type { Checks } from '../http/health-routes.ts';
import type { Certificate } from '../http/listener.ts';
import type { MqttRejection } from '../http/mqtt-rejections-route.ts';
import type { MqttServer, MqttServices } from '../mqtt/mqtt-server.ts';
import { MqttRejections } from '../mqtt/publications.ts';

type MqttIntakes = {
  readonly rejections: () => readonly MqttRejection[];
  /** Of the broker, where there is one. */
  readonly checks: Checks;
  /**
   * Resolves with the URL of the endpoint, if there is one. Throws a `StartupError` when its address is not available or
   * the broker refuses.
   */
  open(): Promise<string | undefined>;
  /** Where the endpoint is that is open. */
  readonly endpoint: () => MqttEndpoint | undefined;
  renew(certificate: Certificate): void;
  close(drain: number): Promise<void>;
};

/** A payload of more bytes than this is no reading of a device. */
const mostPacketBytes = 1_048_576;
const maxReadings = 5000;

/** The endpoint of `MQTT_PORT` and the bridge to `MQTT_BROKER_URL`; MQTT is loaded where one of them is configured. */
export async function mqttIntakes(
  config: Config,
  services: Omit<MqttServices, 'rejections'>,
  certificate: Certificate | undefined,
): Promise<MqttIntakes> {
  const { MQTT_TLS: isSecure, MQTT_TOPICS: topics, MQTT_BROKER_URL: brokerUrl } = config;
  const rejections = new MqttRejections();
  const maxPacketBytes = Math.min(mostPacketBytes, config.MAX_BODY_BYTES);
  const server =
    config.MQTT_PORT === undefined
      ? undefined
      : new (await import('../mqtt/mqtt-server.ts')).MqttServer(
          { ...services, rejections },
          {
            maxConnections: config.MQTT_CONNECTIONS,
            isStrict: config.MQTT_STRICT,
            certificate: isSecure ? certificate : undefined,
            ...{ maxPacketBytes, maxReadings, topics },
          },
        );
  const bridge =
    brokerUrl === undefined
      ? undefined
      : new (await import('../mqtt/bridge.ts')).MqttBridge(
          { ...services, rejections },
          {
            url: brokerUrl,
            share: config.MQTT_BROKER_SHARE === 'none' ? undefined : config.MQTT_BROKER_SHARE,
            clientId: config.MQTT_BROKER_CLIENT_ID ?? `fieldlog-${hostname()}-${config.PORT}`,
            tls: brokerTls(config),
            ...{ maxPacketBytes, maxReadings, topics },
          },
        );
  let endpoint: MqttEndpoint | undefined;
  return {
    rejections: () => rejections.list(),
    endpoint: () => endpoint,
    checks: bridge ? { mqttBroker: () => bridge.check() } : {},
    async open() {
      endpoint = server && (await listen(server, config));
      try {
        await bridge?.open();
      } catch (error) {
        await Promise.all([bridge?.close(0), server?.close(0)]);
        throw new StartupError(
          `The MQTT broker of MQTT_BROKER_URL refuses: ${(error as Error).message}; it must speak MQTT 5, know the user and grant shared subscriptions`,
        );
      }
      return endpoint && urlOf(endpoint, config.HOST);
    },
    renew(renewed) {
      if (isSecure) server?.renew(renewed);
    },
    async close(drain) {
      await Promise.all([server?.close(drain), bridge?.close(drain)]);
    },
  };
}

async function listen(
  server: MqttServer,
  { MQTT_PORT: port = 0, MQTT_TLS: tls, HOST: host }: Config,
): Promise<MqttEndpoint> {
  try {
    return { port: (await server.listen(port, host)).port, tls };
  } catch (error) {
    throw new StartupError(
      `Cannot listen on ${host} port ${port} for MQTT: ${(error as Error).message}; set another MQTT_PORT`,
    );
  }
}

const urlOf = ({ port, tls }: MqttEndpoint, host: string): string =>
  `${tls ? 'mqtts' : 'mqtt'}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;

function brokerTls(config: Config) {
  const read = (variable: 'MQTT_BROKER_CA_FILE' | 'MQTT_BROKER_CERT_FILE' | 'MQTT_BROKER_KEY_FILE') => {
    const file = config[variable];
    return file === undefined ? undefined : fileNamedBy(variable, file);
  };
  const ca = read('MQTT_BROKER_CA_FILE');
  const cert = read('MQTT_BROKER_CERT_FILE');
  const key = read('MQTT_BROKER_KEY_FILE');
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}
