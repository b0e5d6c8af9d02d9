import { z } from 'zod';
import { systemStatus } from '../../application/operations/status.ts';
import type { ProgressQueries } from '../../application/ports/queries.ts';
import type { RetentionRecords } from '../../application/ports/retention.ts';
import type { Freshness } from '../../application/progress.ts';
import { type Route, route } from './route.ts';

const readings = (description: string) => z.int().min(0).meta({ description });

const kept = z
  .string()
  .optional()
  .meta({ examples: ['90d', 'forever'] });
const rows = z.int().min(0);
const time = z.iso.datetime();

const retention = z.strictObject({
  policy: z
    .array(
      z.strictObject({
        type: z.string().optional(),
        metric: z.string().optional(),
        points: kept,
        minutes: kept,
        hours: kept,
        days: kept,
      }),
    )
    .meta({ description: 'The newest; empty when everything is kept for ever.' }),
  since: time.nullable().meta({ description: 'From when on it counts, by the time of arrival.' }),
  sweptTo: time.nullable().meta({ description: 'Everything is gone that was too old then.' }),
  sweeping: z
    .strictObject({ to: time, after: z.string() })
    .nullable()
    .meta({ description: 'The sweep under way, and the device it has come to.' }),
  endedAt: time.nullable().meta({ description: 'When the last sweep ended.' }),
  removed: z
    .strictObject({ points: rows, minutes: rows, hours: rows, days: rows, trimmed: rows })
    .meta({ description: 'Rows of the active generation; those trimmed lost a metric and stay.' }),
});

const status = z
  .strictObject({
    projections: z.array(
      z.strictObject({
        projection: z.string().meta({ examples: ['telemetry'] }),
        generation: z.int().meta({ description: 'Which of the built copies is read.' }),
        version: z.int(),
        positions: z.array(z.string()).meta({ description: 'Consumed up to here, one for each partition.' }),
        lag: z
          .int()
          .nullable()
          .meta({ description: 'Events not consumed yet; null while the log cannot be asked.' }),
        deadLetters: z.record(z.string(), z.int()).meta({ description: 'Those waiting, by cause.' }),
      }),
    ),
    ledger: z
      .strictObject({
        stored: readings('Kept as new.'),
        duplicate: readings('Told nothing new.'),
        corrected: readings('Changed one that was there, or added to it.'),
        deadLettered: readings('Could not be applied.'),
        late: readings('Older than points are kept when they came.'),
        retracted: readings('Of those stored, taken back later.'),
        expired: readings('Of those stored, removed since points are kept no longer.'),
      })
      .meta({ description: 'What became of the readings consumed so far: each is counted once.' }),
    retention: retention.meta({
      description: 'How long points and rollups are kept, and what has been removed.',
    }),
  })
  .meta({ id: 'Status' });

export const statusRoute = (
  progress: ProgressQueries,
  freshness: Freshness,
  records: Pick<RetentionRecords, 'schedule' | 'activeSweep'>,
): Route =>
  route({
    method: 'get',
    path: '/api/v1/status',
    scope: 'operate',
    tag: 'Operation',
    summary: 'How far the projections have come, and what became of the readings',
    answers: { 200: { description: 'As it is now.', content: { 'application/json': status } } },
    handle: async () => ({ status: 200, json: await systemStatus(progress, freshness, records) }),
  });
