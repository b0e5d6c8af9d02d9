import { z } from 'zod';
import type { AuditReport, TotalDifference } from '../../application/operations/audit.ts';
import { type AuditCounts, noCounts } from '../../application/operations/audit-entries.ts';
import type { ProjectionReport } from '../../application/operations/operations.ts';
import type { GenerationDigest, GenerationState } from '../../application/ports/generations.ts';

const time = z.iso.datetime();
const whole = z.int().min(0);

const comparison = z.strictObject({
  samePosition: z.boolean(),
  equal: z.boolean(),
  tables: z.array(
    z.strictObject({
      table: z.string(),
      equal: z.boolean(),
      rows: z.strictObject({ active: whole, next: whole }),
    }),
  ),
});

const generation = z
  .strictObject({
    generation: z.int(),
    version: z.int().meta({ description: 'Of the code that fills it.' }),
    status: z.enum(['building', 'ready', 'active', 'retired']),
    deviceId: z.string().nullable().meta({ description: 'The only device it is built for.' }),
    runner: z
      .string()
      .nullable()
      .meta({ description: 'The lease owner that builds it; null when none does.' }),
    progress: z
      .strictObject({
        phase: z.enum(['fill', 'catch-up', 'compare', 'switch']),
        done: whole.meta({ description: 'Events consumed.' }),
        total: whole.meta({ description: 'Events there are to consume.' }),
        rate: whole.meta({ description: 'Events a second.' }),
        secondsLeft: z.number().nullable(),
      })
      .nullable(),
    outcome: z
      .union([
        z.strictObject({ result: z.enum(['switched', 'kept']), comparison }),
        z.strictObject({ result: z.literal('failed'), error: z.string() }),
      ])
      .nullable()
      .meta({ description: 'How its last build ended.' }),
    createdAt: time,
    retiredAt: time.nullable(),
  })
  .meta({ id: 'Generation' });

export const lagIsAtLeast = z.boolean().meta({
  description: 'There may be more than `lag`: the log is shared, and counting all would take too long.',
});

export const projectionAnswer = z
  .strictObject({
    projection: z.string(),
    active: z.int().meta({ description: 'The generation that is read.' }),
    paused: z.boolean(),
    refused: z
      .string()
      .nullable()
      .meta({ description: 'Why it does not continue, and what to do; null where nothing keeps it.' }),
    codeVersion: z.int().meta({ description: 'Of the code of this release.' }),
    positions: z.array(z.string()).meta({ description: 'Consumed up to here, one for each partition.' }),
    lag: z.int().nullable(),
    lagIsAtLeast,
    generations: z.array(generation),
  })
  .meta({ id: 'Projection' });

export const digestAnswer = z
  .strictObject({
    projection: z.string(),
    generation: z.int(),
    positions: z.array(z.string()),
    tables: z.array(z.strictObject({ table: z.string(), rows: whole, digest: z.string() })),
  })
  .meta({ id: 'Digest' });

export const startedAnswer = z
  .strictObject({
    projection: z.string(),
    generation: z.int(),
    resumed: z.boolean().meta({ description: 'It resumes where an earlier run stopped.' }),
  })
  .meta({ id: 'Started' });

export const projectionJson = ({ checkpoints, generations, ...report }: ProjectionReport) => ({
  ...report,
  positions: checkpoints.map(({ partition, position }) => `${partition}:${position}`),
  generations: generations.map(generationJson),
});

export const digestJson = ({ checkpoints, ...digest }: GenerationDigest) => ({
  ...digest,
  positions: [...checkpoints].map(([partition, position]) => `${partition}:${position}`),
});

function generationJson({
  projection: _,
  device,
  heardAt: __,
  progress,
  createdAt,
  retiredAt,
  ...rest
}: GenerationState) {
  return {
    ...rest,
    deviceId: device,
    progress: progress && {
      ...progress,
      secondsLeft: progress.rate === 0 ? null : Math.ceil((progress.total - progress.done) / progress.rate),
    },
    createdAt: isoTimeOf(createdAt),
    retiredAt: retiredAt === null ? null : isoTimeOf(retiredAt),
  };
}

export const isoTimeOf = (at: number): string => new Date(at).toISOString();

const counts = Object.fromEntries(Object.keys(noCounts).map((name) => [name, z.int()])) as Record<
  keyof AuditCounts,
  z.ZodInt
>;
const ledgerOutcomes = [
  'stored',
  'duplicate',
  'corrected',
  'deadLettered',
  'late',
  'retracted',
  'expired',
] as const satisfies readonly TotalDifference['outcome'][];
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
          kind: z.enum(['unaccounted', 'rows', 'minutes', 'hours', 'days', 'latest']).meta({
            description:
              "unaccounted: the ledger misses readings of the log; rows: the table has others than the ledger; minutes, hours, days: rollups that do not follow from the points or the finer rollups; latest: newest values that do not. Of these the day is of the device's time, and where both numbers are the same, values differ.",
          }),
          expected: z.int(),
          found: z.int(),
        }),
      )
      .meta({ description: 'The first thousand.' }),
    totalDifferences: z
      .array(z.strictObject({ outcome: z.enum(ledgerOutcomes), expected: z.int(), found: z.int() }))
      .meta({ description: 'Totals of the status that are not the sums of the ledger.' }),
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

const dayText = (at: number): string => isoTimeOf(at).slice(0, 10);
