import { z } from 'zod';
import type { AwaitedPosition } from '../../application/awaited-progress.ts';
import type { SourceName } from '../../application/ports/event-source.ts';
import { lagWithinMilliseconds, type ProgressReader } from '../../application/progress.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import { list, single } from './validation.ts';

const whole = '(?:0|[1-9][0-9]{0,19})';
const position = `${whole}(?:-${whole}){0,3}`;
const names = 'devices|device_history|telemetry|detection';
const positionForm = new RegExp(
  `^(?:(?:devices|telemetry):[0-9]{1,9}:${position}|(?:${names}):all:[0-9]{1,25}(?:-[0-9]{1,25}){0,3})$`,
);
const positionError = 'must be a position as commands and ingest answer it, such as telemetry:0:42';
const longest = 30_000;
const timeoutError = `must be a time up to ${longest / 1000} s, in milliseconds or such as 5s`;

/** Parameters of every query that let a caller wait for its own earlier writes. */
export const consistencyParameters = z.strictObject({
  waitFor: list(
    z.string().regex(positionForm, { error: positionError }).transform(awaitedOf),
    'must be at most 100 positions',
  )
    .optional()
    .meta({
      description:
        'Answer only once these positions are in the read model, or 503 when `timeout` has passed; 400 for a partition that is not there.',
    }),
  timeout: single(timeoutError)
    .transform((given, context) => {
      const [, number, unit] = /^(\d{1,6})(ms|s)?$/.exec(given) ?? [];
      const milliseconds = Number(number) * (unit === 's' ? 1000 : 1);
      if (milliseconds <= longest) return milliseconds;
      context.addIssue({ code: 'custom', message: timeoutError, input: given });
      return z.NEVER;
    })
    .default(5000)
    .meta({
      pattern: '^(?:(?:[0-9]{1,4}|[12][0-9]{4}|30000)(?:ms)?|(?:[0-9]|[12][0-9]|30)s)$',
      description: `How long to wait for \`waitFor\`: milliseconds, or such as \`5s\`; 5 s when absent, 30 s at most.`,
    }),
});

type Consistency = z.output<typeof consistencyParameters>;

export const consistencyHeaders = {
  'Fieldlog-Position':
    'How far the read models of this answer had come, one position a partition, with commas, or one of all partitions where they are many.',
  'Fieldlog-Lag':
    'Events that were in the log but not yet in the read models; `unknown` while the log does not say how many.',
} as const;

/**
 * Waits for the awaited positions and reports the progress of the read models: the response may hold more than the
 * headers promise, never less.
 */
export async function consistent(
  freshness: ProgressReader,
  projections: readonly ProjectionName[],
  { waitFor, timeout }: Consistency,
): Promise<Record<keyof typeof consistencyHeaders, string>> {
  if (waitFor !== undefined) await freshness.waitFor(projections, waitFor, timeout);
  const { positions, lag } = await freshness.status(projections, lagWithinMilliseconds);
  return { 'Fieldlog-Position': positions.join(','), 'Fieldlog-Lag': String(lag ?? 'unknown') };
}

function awaitedOf(token: string): AwaitedPosition {
  const [name, partition, position] = token.split(':') as [string, string, string];
  if (partition === 'all') return { projection: name as ProjectionName, total: position };
  return { source: name as SourceName, partition: Number(partition), position };
}
