import { z } from 'zod';
import type { CommandContext, DeviceCommands } from '../../application/device-commands.ts';
import type { Ids } from '../../application/ports/ids.ts';
import type { DeviceCommand } from '../../domain/device/device.ts';
import { answerDevice, answerRegistered, deviceAnswer } from './device-answers.ts';
import {
  changes,
  commandHeaders,
  deviceParams,
  newDeviceId,
  reason,
  registration,
  registrationHeaders,
} from './device-schemas.ts';
import type { RequestContext } from './request-context.ts';
import { type BodySpec, type Route, route } from './route.ts';

export function deviceCommandRoutes(commands: DeviceCommands, ids: Ids): readonly Route[] {
  const register = route({
    method: 'post',
    path: '/api/v1/devices',
    tag: 'Devices',
    summary: 'Register a device',
    headers: registrationHeaders,
    body: { as: 'json', schema: registration },
    answers: {
      201: deviceAnswer('The device as it was registered.', { Location: 'The address of the device.' }),
    },
    problems: ['device-already-registered', 'idempotency-key-reused', 'concurrent-changes'],
    async handle({ body, headers, context }) {
      const { deviceId = newDeviceId(ids, headers['idempotency-key']), ...details } = body;
      const command = { type: 'RegisterDevice', deviceId, details } as const;
      return answerRegistered(await commands.handle(command, contextOfCommand(context, headers)));
    },
  });

  return [
    register,

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
      tag: 'Devices',
      summary,
      params: deviceParams,
      headers: commandHeaders,
      body,
      answers: { 200: deviceAnswer('The device as it is now; unchanged when it was so already.') },
      problems: [
        'device-not-registered',
        'device-decommissioned',
        'stale-revision',
        'idempotency-key-reused',
        'concurrent-changes',
      ],
      handle: async ({ params, body, headers, context }) =>
        answerDevice(
          await commands.handle(commandOf(params.deviceId, body), contextOfCommand(context, headers)),
        ),
    });
  }
}

const json = <Body extends z.ZodType>(schema: Body) => ({ as: 'json', schema }) as const;

function contextOfCommand(
  { caller }: RequestContext,
  headers: { readonly 'idempotency-key'?: string | undefined; readonly 'if-match'?: number | undefined },
): CommandContext {
  const idempotencyKey = headers['idempotency-key'];
  const expectedRevision = headers['if-match'];
  return {
    ...caller,
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(expectedRevision !== undefined && { expectedRevision }),
  };
}
