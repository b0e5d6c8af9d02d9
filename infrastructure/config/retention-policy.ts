import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import {
  findShorterCoarse,
  type RetentionRule,
  retentionTargets,
  targetNames,
} from '../../domain/retention.ts';
import { isMetricName } from '../../domain/telemetry.ts';

const unitDays = { d: 1, w: 7, y: 365 } as const;

const duration = z
  .string()
  .regex(
    /^(forever|[1-9]\d{0,4}[dwy])$/,
    'must be whole days, weeks or years such as 90d, 13w or 2y, or forever',
  )
  .transform((text) =>
    text === 'forever' ? null : Number(text.slice(0, -1)) * unitDays[text.at(-1) as keyof typeof unitDays],
  );

const rule = z
  .strictObject(
    {
      type: z.string().min(1).max(64).optional(),
      metric: z.string().refine(isMetricName, 'must be the name of a metric').optional(),
      points: duration.optional(),
      minutes: duration.optional(),
      hours: duration.optional(),
      days: duration.optional(),
    },
    { error: 'must be an object of type, metric, points, minutes, hours and days' },
  )
  .refine((given) => Object.values(targetNames).some((word) => word in given), {
    error: 'must say how long points, minutes, hours or days are kept',
  })
  .transform(({ type, metric, ...kept }): RetentionRule => {
    const keep = retentionTargets.flatMap((kind) => {
      const days = kept[targetNames[kind]];
      return days === undefined ? [] : [[kind, days] as const];
    });
    return {
      ...(type !== undefined && { type }),
      ...(metric !== undefined && { metric }),
      keep: Object.fromEntries(keep),
    };
  });

const rules = z
  .array(rule, { error: 'must be an array of rules' })
  .max(1000)
  // A transformation, since it is only come to when every rule is one.
  .transform((policy, context) => {
    for (const [i, { type, metric }] of policy.entries())
      if (policy.slice(0, i).some((other) => other.type === type && other.metric === metric))
        context.addIssue({
          code: 'custom',
          path: [i],
          message: 'speaks of the same type and metric as a rule before it',
        });
    const fault = findShorterCoarse(policy);
    if (fault)
      context.addIssue({
        code: 'custom',
        path: [policy.indexOf(fault.rule), targetNames[fault.coarser]],
        message: `must be kept at least as long as ${targetNames[fault.finer]}, for every type and metric`,
      });
    return policy;
  });

/** A policy as JSON, or the path of a file that holds one. */
export const retentionPolicy = z
  .string()
  .transform((given, context): unknown => {
    const isText = given.trimStart().startsWith('[');
    if (!isText && !existsSync(given)) {
      context.addIssue({
        code: 'custom',
        message: 'must be an array in JSON, or the path of a file with one',
      });
      return z.NEVER;
    }
    try {
      return JSON.parse(isText ? given : readFileSync(given, 'utf8'));
    } catch (error) {
      context.addIssue({ code: 'custom', message: `is no JSON: ${(error as Error).message}` });
      return z.NEVER;
    }
  })
  .pipe(rules);
