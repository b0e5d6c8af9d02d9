import { z } from 'zod';
import { file, onOff, url, wholeNumber } from './variable-forms.ts';

/** How the payload of a topic is read; `any` is found out by the media type or the first byte. */
const topicForms = ['any', 'json', 'cbor', 'senml', 'lines', 'value', 'thingsboard', 'gateway'] as const;

/**
 * A topic filter; the level `{device}` stands for one level, which names the device, and `{metric}` for one that names
 * the metric of a payload that is a value by itself.
 */
export type TopicRule = { readonly filter: string; readonly form: (typeof topicForms)[number] };

const filterForm = /^(([^#+{}/=,]*|\+|\{device\}|\{metric\})\/)*([^#+{}/=,]*|\+|#|\{device\}|\{metric\})$/;

/** `filter=form[,…]`, such as `plant/{device}/data=json,legacy/#=lines`. */
const topics = z
  .string()
  .default('')
  .transform((text, context): readonly TopicRule[] =>
    text
      .split(',')
      .filter((rule) => rule !== '')
      .map((rule) => {
        const [filter = '', named, ...more] = rule.split('=');
        const form = topicForms.find((one) => one === named);
        const isFilter = filter !== '' && filterForm.test(filter) && more.length === 0;
        const hasStrayMetric = form !== 'value' && filter.includes('{metric}');
        if (form !== undefined && isFilter && !hasStrayMetric) return { filter, form };
        context.addIssue({
          code: 'custom',
          message: hasStrayMetric
            ? `must have {metric} only in topics of the form value: ${rule}`
            : `must be filter=form[,…] with one of the forms ${topicForms.join(', ')}, such as plant/{device}/data=json`,
        });
        return z.NEVER;
      }),
  );

/** Of readings that come from clients of other systems. */
export const formVariables = {
  AUTO_REGISTER: z
    .string()
    .regex(/^[^\p{Cc}]{1,64}$/u, 'must be the type of the devices, up to 64 characters')
    .optional()
    .describe(
      'type by which devices that send and are not registered are registered, for keys with devices:write too; they are refused when absent',
    ),

  MQTT_PORT: wholeNumber(0, 65_535)
    .optional()
    .describe('port on HOST that takes readings by MQTT 3.1, 3.1.1 and 5; none when absent'),
  MQTT_TLS: onOff().describe('whether MQTT is served by TLS, with TLS_CERT_FILE and TLS_KEY_FILE'),
  MQTT_CONNECTIONS: wholeNumber(1, 1_000_000)
    .default(10_000)
    .describe('MQTT clients that one process takes at once'),
  MQTT_STRICT: onOff().describe(
    'whether a rejected publication closes the connection of a client of MQTT 3.1 or 3.1.1, which cannot be answered why',
  ),
  MQTT_BROKER_URL: url('mqtt', 'mqtts')
    .refine((given) => !given.includes(','), 'must be one broker')
    .optional()
    .describe(
      'MQTT 5 broker to take readings from, such as mqtts://user:password@broker:8883, by the topics of MQTT_TOPICS, else fieldlog/+/telemetry and fieldlog/+/senml; none when absent',
    ),
  MQTT_BROKER_SHARE: z
    .string()
    .regex(/^[^/#+\s]{1,64}$/, 'must be a name without / # + and spaces')
    .default('fieldlog')
    .describe(
      'name of the shared subscription at that broker, the same on all nodes; none for a subscription of one node alone',
    ),
  MQTT_BROKER_CLIENT_ID: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,100}$/, 'must be letters, digits and . _ -')
    .optional()
    .describe(
      "this node's own id at that broker, the same at each start; fieldlog-<host name>-<PORT> when absent",
    ),
  MQTT_BROKER_CA_FILE: file().describe(
    "certificates in PEM that the broker's must stem from; Node's own when absent",
  ),
  MQTT_BROKER_CERT_FILE: file().describe('certificate in PEM that the broker is shown'),
  MQTT_BROKER_KEY_FILE: file().describe('private key of that certificate, in PEM'),
  MQTT_TOPICS: topics.describe(
    'further topics, filter=form[,…], such as plant/{device}/data=json or shellies/{device}/{metric}=value; forms are any, json, cbor, senml, lines, value, thingsboard, gateway',
  ),
};
