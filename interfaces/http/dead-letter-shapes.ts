import { z } from 'zod';
import type { LetterSummary } from '../../application/ports/dead-letters.ts';
import { isoTime } from './replay-shapes.ts';

export const causes = ['malformed', 'unknown-type', 'unknown-device', 'failed', 'behind'] as const;

const summary = z
  .strictObject({
    id: z.int(),
    projection: z.string(),
    generation: z.int(),
    partition: z.int(),
    position: z.string(),
    stream: z.string(),
    eventId: z.string(),
    eventType: z.string(),
    cause: z.enum(causes),
    error: z.string(),
    correlationId: z.string(),
    parkedAt: z.iso.datetime(),
    discarded: z.strictObject({ by: z.string(), reason: z.string(), at: z.iso.datetime() }).nullable(),
  })
  .meta({ id: 'DeadLetter' });

export const lettersAnswer = z.strictObject({ deadLetters: z.array(summary) });

export const letterAnswer = summary
  .extend({ stack: z.string().nullable(), event: z.unknown() })
  .meta({ id: 'DeadLetterEvent' });

export const countsAnswer = z.strictObject({
  counts: z.array(
    z.strictObject({
      projection: z.string(),
      cause: z.enum(causes),
      waiting: z.int(),
      discarded: z.int(),
    }),
  ),
});

export const retriedAnswer = z.strictObject({
  streams: z.array(
    z.strictObject({
      projection: z.string(),
      stream: z.string(),
      applied: z.int(),
      failed: z.strictObject({ position: z.string(), cause: z.enum(causes), error: z.string() }).nullable(),
    }),
  ),
});

/** A letter as it is, with times that can be read. */
export const letterJson = <Letter extends LetterSummary>({ parkedAt, discarded, ...letter }: Letter) => ({
  ...letter,
  parkedAt: isoTime(parkedAt),
  discarded: discarded && { ...discarded, at: isoTime(discarded.at) },
});
