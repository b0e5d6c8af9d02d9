import { z } from 'zod';
import type { DeviceHistory, Moment } from '../../application/devices/device-stream.ts';
import { type DeviceDirectory, isRegistered } from '../../application/ports/device-directory.ts';
import type { DeviceFilter, DeviceQueries } from '../../application/ports/queries.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { ProgressReader } from '../../application/progress.ts';
import { Rejection } from '../../domain/decider.ts';
import { consistencyHeaders, consistencyParameters, consistent } from './consistency.ts';
import { cursorParameter, cursors, next, nextLink, pageOf } from './cursor.ts';
import { confined } from './device-bounds.ts';
import {
  device,
  deviceAnswer,
  deviceParams,
  devicePosition,
  deviceStatus,
  etag,
  historyEntrySchema,
  labelKey,
  respondWithDevice,
} from './device-schemas.ts';
import { isoTimeForm, isoTimePattern } from './iso-time.ts';
import { type Route, route } from './route.ts';
import { integer, isoTime, repeated, single, text } from './validation.ts';

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
    pattern: `^(?:[0-9]{1,15}|${isoTimePattern})$`,
    description:
      'The device as it was then: a revision that it has, such as 3, or a time such as 2026-03-29T01:00:00Z.',
  });

type DeviceQueryServices = {
  readonly history: DeviceHistory;
  readonly directory: DeviceDirectory;
  readonly devices: DeviceQueries;
  readonly freshness: ProgressReader;
  readonly ids: Ids;
};

export const deviceQueryRoutes = (services: DeviceQueryServices): readonly Route[] => [
  deviceRoute(services),
  historyRoute(services),
  listRoute(services),
];

const deviceRoute = ({ history }: DeviceQueryServices): Route =>
  route({
    method: 'get',
    path: '/api/v1/devices/:deviceId',
    scope: 'devices:read',
    boundKeys: 'device-in-path',
    tag: 'Devices',
    summary: 'Get a device, now or at an earlier revision or time',
    description: "Read from the device's own events, so always up to date.",
    params: deviceParams,
    query: consistencyParameters.extend({ at }),
    headers: z.object({
      'if-none-match': z
        .string()
        .optional()
        .meta({ description: 'Answer 304 when the device still has this `ETag`.', examples: ['"3"'] }),
    }),
    responses: {
      200: deviceAnswer('The device.', consistencyHeaders),
      304: { description: 'The device still has the given `ETag`.' },
    },
    problems: ['device-not-registered', 'device-stream-deleted', 'device-stream-unreadable'],
    async handle({ params: { deviceId }, query, headers }) {
      const found = await history.deviceAt(deviceId, query.at ?? 'now');
      if (!found) throw notRegistered(deviceId, query.at ? ' at that moment' : '');
      const fresh = { 'Fieldlog-Position': devicePosition(found.position), 'Fieldlog-Lag': '0' };
      const result = respondWithDevice(found);
      const known = matches(headers['if-none-match'], etag(found.device.revision));
      return {
        status: known ? 304 : 200,
        headers: { ...result.headers, ...fresh },
        ...(!known && { json: result.json }),
      };
    },
  });

const historyRoute = ({ history, directory, devices, freshness, ids }: DeviceQueryServices): Route =>
  route({
    method: 'get',
    path: '/api/v1/devices/:deviceId/history',
    scope: 'devices:read',
    boundKeys: 'device-in-path',
    tag: 'Devices',
    summary: 'List the changes of a device: who, what, when',
    params: deviceParams,
    query: consistencyParameters.extend(page.shape),
    responses: {
      200: {
        description: 'In order of revision.',
        content: { 'application/json': z.strictObject({ history: z.array(historyEntrySchema), next }) },
        headers: pageHeaders,
      },
    },
    problems: [
      'device-not-registered',
      'device-stream-deleted',
      'device-stream-unreadable',
      'not-yet-projected',
    ],
    async handle({ req, params: { deviceId }, query }) {
      const headers = await consistent(freshness, ['device_history'], query);
      const cursor = cursors(ids, ['history', deviceId], z.number());
      const after = cursor.read(query.cursor);
      const found = await devices.history(deviceId, {
        limit: query.limit + 1,
        ...(after !== undefined && { after }),
      });
      if (found.length === 0) await requireRegistered({ directory, history }, deviceId);
      const { rows, next } = pageOf(found, query.limit, ({ revision }) => revision, cursor);
      return {
        status: 200,
        headers: { ...headers, ...nextLink(req.url, next) },
        json: { history: rows, next },
      };
    },
  });

const listRoute = ({ devices, freshness, ids }: DeviceQueryServices): Route =>
  route({
    method: 'get',
    path: '/api/v1/devices',
    scope: 'devices:read',
    boundKeys: 'selection',
    tag: 'Devices',
    summary: 'List devices',
    query: consistencyParameters.extend({ ...deviceFilterParameters.shape, ...page.shape }),
    responses: {
      200: {
        description: 'In order of device id.',
        content: { 'application/json': z.strictObject({ devices: z.array(device), next }) },
        headers: pageHeaders,
      },
    },
    problems: ['not-yet-projected'],
    async handle({ req, query, context }) {
      const headers = await consistent(freshness, ['devices'], query);
      const filter = confined(deviceFilterOf(query), context);
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
  });

/** If-None-Match compares weakly: a proxy may have weakened the tag it sends back. */
const matches = (ifNoneMatch: string | undefined, tag: string): boolean =>
  ifNoneMatch !== undefined &&
  (ifNoneMatch.trim() === '*' ||
    ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === tag));

const labelError = 'must be a label as key:value';

/** Query parameters that say which devices are meant. */
export const deviceFilterParameters = z.strictObject({
  status: deviceStatus.optional().meta({ description: 'Devices in this state.' }),
  type: text(64).optional().meta({ description: 'Devices of this type.' }),
  label: repeated(
    z
      .string({ error: labelError })
      .transform((given, context) => {
        const [key, value] = splitAt(given, given.indexOf(':'));
        if (labelKey.safeParse(key).success && value.length <= 256) return { key, value };
        context.addIssue({ code: 'custom', message: labelError, input: given });
        return z.NEVER;
      })
      .meta({ pattern: '^[a-z0-9][a-zA-Z0-9._-]{0,62}:[\\s\\S]{0,256}$' }),
    'must be at most 100 labels',
  )
    .optional()
    .meta({ description: 'Devices with this label, as `key:value`; repeat it to ask for several.' }),
  q: text(200).optional().meta({ description: 'Devices with this in their id or name, whatever the case.' }),
});

export function deviceFilterOf({
  status,
  type,
  label,
  q,
}: z.output<typeof deviceFilterParameters>): DeviceFilter {
  return {
    ...(status !== undefined && { status }),
    ...(type !== undefined && { type }),
    ...(label !== undefined && { labels: label }),
    ...(q !== undefined && { text: q }),
  };
}

const splitAt = (text: string, at: number): [string, string] =>
  at === -1 ? ['', ''] : [text.slice(0, at), text.slice(at + 1)];

/** An unregistered device is a 404; a registered device without data is an empty result. */
/** Throws what the device's stream says when it is not among the registered ones: it may be deleted, or unreadable. */
export async function requireRegistered(
  { directory, history }: { readonly directory: DeviceDirectory; readonly history: DeviceHistory },
  deviceId: string,
): Promise<void> {
  if (await isRegistered(directory, deviceId)) return;
  if (!(await history.deviceAt(deviceId, 'now'))) throw notRegistered(deviceId);
}

const notRegistered = (deviceId: string, when = ''): Rejection =>
  new Rejection('DeviceNotRegistered', `Device ${deviceId} is not registered${when}`);
