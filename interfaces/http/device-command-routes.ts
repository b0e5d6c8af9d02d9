import { z } from 'zod';
import type { DeviceCommands, EraseDevice } from '../../application/devices/device-commands.ts';
import type { Credentials } from '../../application/ports/api-keys.ts';
import type { Ids } from '../../application/ports/system.ts';
import type { DeviceCommand } from '../../domain/device.ts';
import { requireWithin } from './device-bounds.ts';
import { registrationOf, registrationResponse } from './device-bulk-route.ts';
import {
  changes,
  commandHeaders,
  deviceAddress,
  deviceAnswer,
  deviceParams,
  deviceToken,
  erasure,
  positionedDevice,
  reason,
  registeredDevice,
  registration,
  registrationHeaders,
  respondWithDevice,
} from './device-schemas.ts';
import { conditionsOf } from './request-context.ts';
import { type BodySpec, type Route, route } from './route.ts';

type DeviceCommandServices = {
  readonly commands: DeviceCommands;
  readonly ids: Ids;
  readonly credentials: Credentials;
  readonly erase: EraseDevice;
};

export function deviceCommandRoutes(services: DeviceCommandServices): readonly Route[] {
  return [registerRoute(services), tokenRoute(services), eraseRoute(services), ...changeRoutes(services)];
}

const registerRoute = ({ commands, ids, credentials }: DeviceCommandServices): Route =>
  route({
    method: 'post',
    path: '/api/v1/devices',
    scope: 'devices:write',
    boundKeys: 'each-device',
    tag: 'Devices',
    summary: 'Register a device',
    headers: registrationHeaders,
    body: { as: 'json', schema: registration },
    responses: {
      201: deviceAnswer(
        'The device as it was registered.',
        { Location: 'The address of the device.' },
        registeredDevice,
      ),
    },
    problems: [
      'device-already-registered',
      'device-stream-deleted',
      'device-stream-unreadable',
      'idempotency-key-reused',
      'concurrent-changes',
    ],
    async handle({ body, headers, context }) {
      const { deviceId, command, secret } = registrationOf(
        body,
        ids,
        credentials,
        context.caller.actor,
        headers['idempotency-key'],
      );
      requireWithin(context, { deviceId, ...command.details });
      const result = await commands.handle(command, conditionsOf(context, headers));
      const Location = deviceAddress(deviceId);
      return {
        status: 201,
        headers: { ...respondWithDevice(result).headers, Location },
        json: registrationResponse(result, secret),
      };
    },
  });

const tokenRoute = ({ commands, credentials }: DeviceCommandServices): Route =>
  route({
    method: 'post',
    path: '/api/v1/devices/:deviceId/token',
    scope: 'devices:write',
    boundKeys: 'device-in-path',
    tag: 'Devices',
    summary: 'Issue a new device token and revoke the old one',
    description: 'Takes no `Idempotency-Key`: a secret is shown once, and a repeated request makes another.',
    params: deviceParams,
    headers: commandHeaders.pick({ 'if-match': true }),
    body: { ...json(z.strictObject({})), optional: true },
    responses: {
      200: deviceAnswer('The device, and its token.', {}, positionedDevice.extend({ token: deviceToken })),
    },
    problems: [
      'device-not-registered',
      'device-decommissioned',
      'device-stream-deleted',
      'device-stream-unreadable',
      'stale-revision',
      'concurrent-changes',
    ],
    async handle({ params: { deviceId }, headers, context }) {
      const { secret, hash } = credentials.issue('device', deviceId);
      const command = { type: 'IssueDeviceToken', deviceId, tokenHash: hash } as const;
      const { json, ...result } = respondWithDevice(
        await commands.handle(command, conditionsOf(context, headers)),
      );
      return { ...result, json: { ...(json as object), token: secret } };
    },
  });

const eraseRoute = ({ erase }: DeviceCommandServices): Route =>
  route({
    method: 'post',
    path: '/api/v1/devices/:deviceId/erase',
    scope: 'operate',
    tag: 'Devices',
    summary: "Erase a device's personal data (irreversible)",
    description:
      'Its details, its history and its telemetry are gone from every answer and, soon after, from the read models; its id stays taken. What stays in logs and backups, and for how long, is in docs/security.md. May be called again.',
    params: deviceParams,
    headers: commandHeaders,
    body: json(erasure),
    responses: { 200: deviceAnswer('What is left of the device.') },
    problems: [
      'device-not-registered',
      'device-stream-deleted',
      'device-stream-unreadable',
      'stale-revision',
      'idempotency-key-reused',
      'concurrent-changes',
    ],
    handle: async ({ params, body, headers, context }) =>
      respondWithDevice(await erase(params.deviceId, body.reason, conditionsOf(context, headers))),
  });

function changeRoutes({ commands }: DeviceCommandServices): readonly Route[] {
  return [
    change('patch', '', "Change a device's name, type or labels", json(changes), (deviceId, changed) => ({
      type: 'ChangeDeviceDetails',
      deviceId,
      changes: {
        ...(changed.name !== undefined && { name: changed.name }),
        ...(changed.type !== undefined && { type: changed.type }),
        ...(changed.labels !== undefined && { labels: changed.labels }),
      },
    })),

    change(
      'post',
      '/suspend',
      'Suspend a device: its readings are refused until it is reinstated',
      json(reason),
      (deviceId, { reason }) => ({ type: 'SuspendDevice', deviceId, reason }),
    ),

    change(
      'post',
      '/reinstate',
      'Reinstate a suspended device',
      { ...json(z.strictObject({})), optional: true },
      (deviceId) => ({ type: 'ReinstateDevice', deviceId }),
    ),

    change(
      'post',
      '/decommission',
      'Decommission a device, for good',
      json(reason),
      (deviceId, { reason }) => ({
        type: 'DecommissionDevice',
        deviceId,
        reason,
      }),
    ),
  ];

  function change<Body extends z.ZodType>(
    method: 'post' | 'patch',
    action: string,
    summary: string,
    body: BodySpec<Body>,
    commandOf: (deviceId: string, body: z.output<Body>) => DeviceCommand,
  ): Route {
    return route({
      method,
      path: `/api/v1/devices/:deviceId${action}`,
      scope: 'devices:write',
      boundKeys: 'device-in-path',
      tag: 'Devices',
      summary,
      params: deviceParams,
      headers: commandHeaders,
      body,
      responses: { 200: deviceAnswer('The device as it is now; unchanged when it was so already.') },
      problems: [
        'device-not-registered',
        'device-decommissioned',
        'device-stream-deleted',
        'device-stream-unreadable',
        'stale-revision',
        'idempotency-key-reused',
        'concurrent-changes',
      ],
      async handle({ params: { deviceId }, body, headers, context }) {
        const command = commandOf(deviceId, body);
        if (command.type === 'ChangeDeviceDetails') requireWithin(context, { deviceId, ...command.changes });
        return respondWithDevice(await commands.handle(command, conditionsOf(context, headers)));
      },
    });
  }
}

const json = <Body extends z.ZodType>(schema: Body) => ({ as: 'json', schema }) as const;
