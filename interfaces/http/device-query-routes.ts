import { z } from 'zod';
import type { DeviceHistory, Moment } from '../../application/devices/device-stream.ts';
import type { DeviceQueries } from '../../application/ports/queries.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { Freshness } from '../../application/progress.ts';
import { consistencyHeaders, consistencyParameters, consistent } from './consistency.ts';
import { cursorParameter, cursors, next, nextLink, pageOf } from './cursor.ts';
import { answerDevice, device, deviceAnswer, devicePosition, etag, historyEntry } from './device-answers.ts';
import { deviceFilterOf, deviceFilterParameters } from './device-filter.ts';
import { deviceParams } from './device-schemas.ts';
import { isoTimeForm } from './iso-time.ts';
import { integer, isoTime, single } from './query-parameters.ts';
import { notRegistered, requireRegistered } from './registered.ts';
import { type Route, route } from './route.ts';

const page = z.strictObject({
  limit: integer(1, 1000).default(100).meta({ description: 'How many at most; 100 when absent.' }),
  cursor: cursorParameter,
});

const pageHeaders = { ...consistencyHeaders, Link: 'The next page, `rel="next"`, when there is one.' };

const atError = `must be a revision, or a time in ISO 8601: ${isoTimeForm}`;

const at = single(atError)
  .transform((given, context): Moment => {
    if (/^\d{1,15}$/.test(given)) return { revision: Number(given) };
    const time = isoTime(given);
    if (time !== undefined) return { time };
    context.addIssue({ code: 'custom', message: atError, input: given });
    return z.NEVER;
  })
  .optional()
  .meta({
    description: 'The device as it was then: a revision such as 3, or a time such as 2026-03-29T01:00:00Z.',
  });

export function deviceQueryRoutes(
  history: DeviceHistory,
  devices: DeviceQueries,
  freshness: Freshness,
  ids: Ids,
): readonly Route[] {
  return [
    route({
      method: 'get',
      path: '/api/v1/devices/:deviceId',
      scope: 'devices:read',
      tag: 'Devices',
      summary: 'A device as it is now, or as it was',
      description: "Told from the device's own events, so always up to date.",
      params: deviceParams,
      query: consistencyParameters.extend({ at }),
      headers: z.object({
        'if-none-match': z
          .string()
          .optional()
          .meta({ description: 'Answer 304 when the device still has this `ETag`.', examples: ['"3"'] }),
      }),
      answers: {
        200: deviceAnswer('The device.', consistencyHeaders),
        304: { description: 'The device still has the given `ETag`.' },
      },
      problems: ['device-not-registered'],
      async handle({ params: { deviceId }, query, headers }) {
        const found = await history.deviceAt(deviceId, query.at ?? 'now');
        if (!found) throw notRegistered(deviceId, query.at ? ' at that moment' : '');
        const fresh = { 'Fieldlog-Position': devicePosition(found.position), 'Fieldlog-Lag': '0' };
        const answer = answerDevice(found);
        const known = matches(headers['if-none-match'], etag(found.device.revision));
        return {
          status: known ? 304 : 200,
          headers: { ...answer.headers, ...fresh },
          ...(!known && { json: answer.json }),
        };
      },
    }),

    route({
      method: 'get',
      path: '/api/v1/devices/:deviceId/history',
      scope: 'devices:read',
      tag: 'Devices',
      summary: 'Who changed what of a device, and when',
      params: deviceParams,
      query: consistencyParameters.extend(page.shape),
      answers: {
        200: {
          description: 'In order of revision.',
          content: { 'application/json': z.strictObject({ history: z.array(historyEntry), next }) },
          headers: pageHeaders,
        },
      },
      problems: ['device-not-registered', 'not-yet-projected'],
      async handle({ req, params: { deviceId }, query }) {
        const headers = await consistent(freshness, ['device_history'], query);
        const cursor = cursors(ids, ['history', deviceId], z.number());
        const after = cursor.read(query.cursor);
        const found = await devices.history(deviceId, {
          limit: query.limit + 1,
          ...(after !== undefined && { after }),
        });
        if (found.length === 0) await requireRegistered(history, deviceId);
        const { rows, next } = pageOf(found, query.limit, ({ revision }) => revision, cursor);
        return {
          status: 200,
          headers: { ...headers, ...nextLink(req.url, next) },
          json: { history: rows, next },
        };
      },
    }),

    route({
      method: 'get',
      path: '/api/v1/devices',
      scope: 'devices:read',
      tag: 'Devices',
      summary: 'The devices there are',
      query: consistencyParameters.extend({ ...deviceFilterParameters.shape, ...page.shape }),
      answers: {
        200: {
          description: 'In order of device id.',
          content: { 'application/json': z.strictObject({ devices: z.array(device), next }) },
          headers: pageHeaders,
        },
      },
      problems: ['not-yet-projected'],
      async handle({ req, query }) {
        const headers = await consistent(freshness, ['devices'], query);
        const filter = deviceFilterOf(query);
        const cursor = cursors(ids, ['devices', filter], z.string());
        const after = cursor.read(query.cursor);
        const found = await devices.list(filter, {
          limit: query.limit + 1,
          ...(after !== undefined && { after }),
        });
        const { rows, next } = pageOf(found, query.limit, ({ deviceId }) => deviceId, cursor);
        return {
          status: 200,
          headers: { ...headers, ...nextLink(req.url, next) },
          json: { devices: rows, next },
        };
      },
    }),
  ];
}

/** If-None-Match compares weakly: a proxy may have marked the tag it hands back. */
const matches = (ifNoneMatch: string | undefined, tag: string): boolean =>
  ifNoneMatch !== undefined &&
  (ifNoneMatch.trim() === '*' ||
    ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === tag));
