import { z } from 'zod';
import { type AuditCounts, type AuditReport, noCounts } from '../../application/operations/audit.ts';
import { isoTime } from './replay-shapes.ts';

const counts = Object.fromEntries(Object.keys(noCounts).map((name) => [name, z.int()])) as Record<
  keyof AuditCounts,
  z.ZodInt
>;
const day = z.iso.date().meta({ description: 'UTC day of arrival.' });

export const auditAnswer = z
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

export const auditJson = ({ days, entries, differences, uncheckedBefore, ...report }: AuditReport) => ({
  ...report,
  days: days.map(withDay),
  entries: entries.map(withDay),
  differences: differences.map(withDay),
  uncheckedBefore: uncheckedBefore === null ? null : dayText(uncheckedBefore),
});

const withDay = <Entry extends { readonly day: number }>(entry: Entry) => ({
  ...entry,
  day: dayText(entry.day),
});

const dayText = (at: number): string => isoTime(at).slice(0, 10);
