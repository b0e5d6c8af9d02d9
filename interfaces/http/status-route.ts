import { z } from 'zod';
import type { Freshness } from '../../application/freshness.ts';
import type { ProgressQueries } from '../../application/ports/queries.ts';
import { systemStatus } from '../../application/system-status.ts';
import { type Route, route } from './route.ts';

const readings = (description: string) => z.int().min(0).meta({ description });

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
        retracted: readings('Of those stored, taken back later.'),
      })
      .meta({ description: 'What became of the readings consumed so far: each is counted once.' }),
  })
  .meta({ id: 'Status' });

export const statusRoute = (progress: ProgressQueries, freshness: Freshness): Route =>
  route({
    method: 'get',
    path: '/api/v1/status',
    scope: 'operate',
    tag: 'Operation',
    summary: 'How far the projections have come, and what became of the readings',
    answers: { 200: { description: 'As it is now.', content: { 'application/json': status } } },
    handle: async () => ({ status: 200, json: await systemStatus(progress, freshness) }),
  });
