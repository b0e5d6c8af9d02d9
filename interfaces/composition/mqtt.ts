import { isIP } from 'node:net';
import type { Config } from '../../infrastructure/config/config.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import type { Certificate } from '../http/listener.ts';
import type { MqttRejection } from '../http/mqtt-rejections-route.ts';
import { type MqttServices, mqttServer } from '../mqtt/mqtt-server.ts';
import { MqttRejections } from '../mqtt/publications.ts';

type MqttEndpoint = {
  readonly rejections: () => readonly MqttRejection[];
  /** Resolves with the URL. Throws a `StartupError` when the address is not available. */
  listen(): Promise<string>;
  renew(certificate: Certificate): void;
  close(drain: number): Promise<void>;
};

/** A payload of more bytes than this is no reading of a device. */
const mostPacketBytes = 1_048_576;

/** `undefined` where no port is configured. */
export function mqttEndpoint(
  config: Config,
  services: Omit<MqttServices, 'rejections'>,
  certificate: Certificate | undefined,
): MqttEndpoint | undefined {
  const { MQTT_PORT: port, MQTT_TLS: isSecure, HOST: host } = config;
  if (port === undefined) return undefined;
  const rejections = new MqttRejections();
  const server = mqttServer(
    { ...services, rejections },
    {
      maxConnections: config.MQTT_CONNECTIONS,
      maxPacketBytes: Math.min(mostPacketBytes, config.MAX_BODY_BYTES),
      maxReadings: 5000,
      topics: config.MQTT_TOPICS,
      isStrict: config.MQTT_STRICT,
      certificate: isSecure ? certificate : undefined,
    },
  );
  return {
    rejections: () => rejections.list(),
    async listen() {
      try {
        const { port: taken } = await server.listen(port, host);
        return `${isSecure ? 'mqtts' : 'mqtt'}://${isIP(host) === 6 ? `[${host}]` : host}:${taken}`;
      } catch (error) {
        throw new StartupError(
          `Cannot listen on ${host} port ${port} for MQTT: ${(error as Error).message}; set another MQTT_PORT`,
        );
      }
    },
    renew: (renewed) => {
      if (isSecure) server.renew(renewed);
    },
    close: (drain) => server.close(drain),
  };
}
