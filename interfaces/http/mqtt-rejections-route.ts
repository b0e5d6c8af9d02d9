import { z } from 'zod';
import { isoTimes } from './iso-time.ts';
import { type Route, route } from './route.ts';

/** A publication, or a part of one, that was not stored. */
export type MqttRejection = {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly actor: string;
  readonly topic: string;
  readonly kind: string;
  readonly detail: string;
};

const answer = z
  .strictObject({
    rejections: z.array(
      z.strictObject({
        at: z.string().meta({ format: 'date-time' }),
        actor: z
          .string()
          .meta({ description: 'The name of the key, or `device:` and the id of the device.' }),
        topic: z.string(),
        kind: z.string().meta({ description: 'The last part of the type of the problem.' }),
        detail: z.string(),
      }),
    ),
  })
  .meta({ id: 'MqttRejections' });

/** Rejections: MQTT 3.1.1 has no answer but success. */
export function mqttRejectionsRoute(list: () => readonly MqttRejection[]): Route {
  const iso = isoTimes();
  return route({
    method: 'get',
    path: '/api/v1/mqtt/rejections',
    scope: 'operate',
    tag: 'Telemetry',
    summary: 'List publications by MQTT that were rejected',
    description: 'The last 1000 of this process since it started, the newest first.',
    responses: { 200: { description: 'They.', content: { 'application/json': answer } } },
    handle: async () => ({
      status: 200,
      json: { rejections: list().map((one) => ({ ...one, at: iso(one.at) })) },
    }),
  });
}
