import { z } from 'zod';
import type { AuditCounts } from '../../application/replay/audit-entries.ts';
import { noCounts } from '../../application/replay/audit-entries.ts';
import type { OperatorServices } from './operator-services.ts';
import { single, time } from './query-parameters.ts';
import { isoTime } from './replay-shapes.ts';
import { untilGone } from './request-aborted.ts';
import { type Route, route } from './route.ts';
import { deviceId } from './text-schemas.ts';

const counts = Object.fromEntries(Object.keys(noCounts).map((name) => [name, z.int()])) as Record<
  keyof AuditCounts,
  z.ZodInt
>;
const day = z.iso.date().meta({ description: 'UTC day of arrival.' });

const report = z
  .strictObject({
    totals: z.strictObject(counts),
    days: z.array(z.strictObject({ day, ...counts })),
    entries: z
      .array(z.strictObject({ deviceId: z.string(), day, ...counts }))
      .meta({ description: 'Device by device and day by day, the first thousand.' }),
    differenceCount: z.int(),
    differences: z
      .array(
        z.strictObject({
          deviceId: z.string(),
          day,
          kind: z.enum(['unaccounted', 'rows']),
          expected: z.int(),
          found: z.int(),
        }),
      )
      .meta({ description: 'The first thousand.' }),
    uncheckedBefore: day.nullable().meta({ description: 'The log no longer has all that arrived before.' }),
  })
  .meta({ id: 'Audit' });

export const auditRoute = ({ tasks }: OperatorServices): Route =>
  route({
    method: 'get',
    path: '/api/v1/audit',
    scope: 'operate',
    tag: 'Operation',
    summary: 'Whether what was accepted is what is stored, counted anew from the log',
    description:
      'accepted = stored + duplicate + corrected + deadLettered + inFlight, and rows = stored - retracted, for each device and UTC day of arrival. Reads the whole log.',
    query: z.strictObject({
      device: single('must be a device id')
        .pipe(deviceId)
        .optional()
        .meta({ description: 'This device only.' }),
      from: time.optional().meta({ description: 'Days of arrival from the one on in which this is.' }),
      to: time.optional().meta({ description: 'And before this.' }),
    }),
    answers: { 200: { description: 'What was found.', content: { 'application/json': report } } },
    async handle({ res, query: { device, from, to } }) {
      const found = await tasks.audit({ deviceId: device, from, to }, untilGone(res));
      const { days, entries, differences, uncheckedBefore, ...rest } = found;
      const json = {
        ...rest,
        days: days.map(withDay),
        entries: entries.map(withDay),
        differences: differences.map(withDay),
        uncheckedBefore: uncheckedBefore === null ? null : dayText(uncheckedBefore),
      };
      return { status: 200, json };
    },
  });

const withDay = <Entry extends { readonly day: number }>(entry: Entry) => ({
  ...entry,
  day: dayText(entry.day),
});

const dayText = (at: number): string => isoTime(at).slice(0, 10);
