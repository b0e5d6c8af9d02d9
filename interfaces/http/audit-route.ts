import { z } from 'zod';
import { auditAnswer, auditJson } from './audit-shape.ts';
import type { OperatorServices } from './operator-services.ts';
import { single, time } from './query-parameters.ts';
import { untilGone } from './request-aborted.ts';
import { type Route, route } from './route.ts';
import { deviceId } from './text-schemas.ts';

export const auditRoute = ({ tasks }: OperatorServices): Route =>
  route({
    method: 'get',
    path: '/api/v1/audit',
    scope: 'operate',
    tag: 'Operation',
    summary: 'Whether what was accepted is what is stored, counted anew from the log',
    description:
      'accepted = stored + duplicate + corrected + deadLettered + late + inFlight, and rows = stored - retracted - expired, for each device and UTC day of arrival. Reads the whole log.',
    query: z.strictObject({
      device: single('must be a device id')
        .pipe(deviceId)
        .optional()
        .meta({ description: 'This device only.' }),
      from: time.optional().meta({ description: 'Days of arrival from the one on in which this is.' }),
      to: time.optional().meta({ description: 'And before this.' }),
    }),
    answers: { 200: { description: 'What was found.', content: { 'application/json': auditAnswer } } },
    async handle({ res, query: { device, from, to } }) {
      const found = await tasks.audit({ deviceId: device, from, to }, untilGone(res));
      return { status: 200, json: auditJson(found) };
    },
  });
