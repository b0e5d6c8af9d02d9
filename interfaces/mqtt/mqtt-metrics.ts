import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** `dropped_qos0` are publications of QoS 0 for which there was no room. */
type PublishOutcome = 'accepted' | 'rejected' | 'dropped_qos0';

export type MqttMetrics = ReturnType<typeof mqttMetrics>;

/** What is connected now, asked when metrics are read. */
type MqttLoad = { readonly connections: number; readonly inFlight: number; readonly paused: number };

const secondsToAcknowledge = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10, 30];

export function mqttMetrics(registry: Registry, load: () => MqttLoad) {
  const gauge = (name: keyof MqttLoad, metric: string, help: string) =>
    new Gauge({
      name: metric,
      help,
      registers: [registry],
      collect() {
        this.set(load()[name]);
      },
    });
  gauge('connections', 'fieldlog_mqtt_connections', 'MQTT clients that are connected.');
  gauge('inFlight', 'fieldlog_mqtt_inflight', 'Publications that are not durable yet.');
  gauge('paused', 'fieldlog_mqtt_paused', 'Connections that are not read from until others are durable.');
  const connects = new Counter({
    name: 'fieldlog_mqtt_connects_total',
    help: 'CONNECT packets by their result and the version of the protocol.',
    labelNames: ['result', 'version'] as const,
    registers: [registry],
  });
  const publishes = new Counter({
    name: 'fieldlog_mqtt_publishes_total',
    help: 'Publications by quality of service and what became of them.',
    labelNames: ['qos', 'outcome'] as const,
    registers: [registry],
  });
  const acknowledged = new Histogram({
    name: 'fieldlog_mqtt_puback_seconds',
    help: 'Time from a publication of QoS 1 or 2 to its acknowledgement.',
    buckets: secondsToAcknowledge,
    registers: [registry],
  });
  const duplicates = new Counter({
    name: 'fieldlog_mqtt_duplicates_total',
    help: 'Publications without a time that were sent again and not stored again.',
    registers: [registry],
  });
  return {
    connected: (result: string, version: number) => connects.inc({ result, version: String(version) }),
    published: (qos: number, outcome: PublishOutcome) => publishes.inc({ qos: String(qos), outcome }),
    acknowledged: (seconds: number) => acknowledged.observe(seconds),
    duplicate: () => duplicates.inc(),
  };
}

/** Of the bridge to a broker. */
export function mqttBridgeMetrics(
  registry: Registry,
  load: () => { readonly connections: number; readonly inFlight: number },
) {
  const registers = [registry];
  new Gauge({
    name: 'fieldlog_mqtt_bridge_connections',
    help: 'Connections to the MQTT broker that are subscribed.',
    registers,
    collect() {
      this.set(load().connections);
    },
  });
  new Gauge({
    name: 'fieldlog_mqtt_bridge_inflight',
    help: 'Publications of the MQTT broker that are not durable yet.',
    registers,
    collect() {
      this.set(load().inFlight);
    },
  });
  const publishes = new Counter({
    name: 'fieldlog_mqtt_bridge_publishes_total',
    help: 'Publications of the MQTT broker by quality of service and what became of them.',
    labelNames: ['qos', 'outcome'] as const,
    registers,
  });
  const acknowledged = new Histogram({
    name: 'fieldlog_mqtt_bridge_puback_seconds',
    help: 'Time from a publication of the MQTT broker to its acknowledgement.',
    buckets: secondsToAcknowledge,
    registers,
  });
  const duplicates = new Counter({
    name: 'fieldlog_mqtt_bridge_duplicates_total',
    help: 'Publications without a time that the MQTT broker sent again and that were not stored again.',
    registers,
  });
  return {
    published: (qos: number, outcome: PublishOutcome) => publishes.inc({ qos: String(qos), outcome }),
    acknowledged: (seconds: number) => acknowledged.observe(seconds),
    duplicate: () => duplicates.inc(),
  };
}
