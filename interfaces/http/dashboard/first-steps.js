/** Commands that people copy who have nothing yet, with the addresses of this server. */
import { html } from '/dashboard/lit-html.js';

/** @typedef {{ port: number, tls: boolean } | null} Mqtt Where the server takes MQTT. */

const command = (/** @type {string} */ text) => html`<pre tabindex="0"><code>${text}</code></pre>`;

const posting = (/** @type {string} */ path, /** @type {object} */ body) =>
  `curl -H 'Content-Type: application/json' ${location.origin}${path} \\\n  -d '${JSON.stringify(body)}'`;

const keys = html`<p class="muted">Where there are API keys, add <code>-H 'X-API-Key: …'</code>, by MQTT <code>-u key -P …</code>.
  Every call is described at <a href="/docs">/docs</a>.</p>`;

const reading = (/** @type {string} */ deviceId) =>
  posting('/api/v1/telemetry', { deviceId, metrics: { temperature: 21.5 } });

/** The same reading by MQTT. @param {string} deviceId @param {Mqtt} mqtt */
const byMqtt = (deviceId, mqtt) =>
  mqtt
    ? html`<p>The same reading by MQTT:</p>
      ${command(
        `mosquitto_pub -h ${location.hostname} -p ${mqtt.port}${mqtt.tls ? ' --capath /etc/ssl/certs' : ''} -q 1 \\
  -t fieldlog/${deviceId}/telemetry -m '{"temperature": 21.5}'`,
      )}`
    : html`<p>This server takes no MQTT: start it with <code>MQTT_PORT=1883</code>, and devices publish to
      <code>fieldlog/${deviceId}/telemetry</code>.</p>`;

/** For who has no device: the two calls that make the first point. @param {Mqtt} mqtt */
export const noDevice = (mqtt) => html`<section class="empty">
  <h2>No device yet</h2>
  <p>Register one above, or from a terminal, and send its first reading:</p>
  ${command(`${posting('/api/v1/devices', { deviceId: 'boiler-1', name: 'Boiler 1', type: 'boiler' })}\n${reading('boiler-1')}`)}
  ${byMqtt('boiler-1', mqtt)} ${keys}
</section>`;

/** For who has a device that has sent nothing. @param {string} deviceId @param {Mqtt} mqtt */
export const noReading = (deviceId, mqtt) => html`<div class="empty">
  <p>Nothing has been measured yet. Send a first reading:</p>
  ${command(reading(deviceId))} ${byMqtt(deviceId, mqtt)} ${keys}
</div>`;

export const noRule = () => html`<div class="empty">
  <p>No rule yet: nothing is watched. Create one above, or from a terminal:</p>
  ${command(posting('/api/v1/rules', { name: 'Too hot', kind: 'range', metric: 'temperature', above: 90 }))}
</div>`;
