import { z } from 'zod';
import type { StoredRule } from '../../application/detection/rule-book.ts';
import {
  type Condition,
  conditionFaults,
  type RuleDefinition,
  ruleKinds,
  severities,
} from '../../domain/detection/rule.ts';
import { isMetricName, metricNameForm } from '../../domain/telemetry.ts';
import { labelKey } from './device-schemas.ts';
import { isoTimeOf } from './operation-schemas.ts';
import { deviceId, nameMap, text } from './validation.ts';

const ruleIdError =
  'must be a rule id: letters, digits and . _ - , starting with a letter or digit, at most 64';
export const ruleId = z
  .string({ error: ruleIdError })
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: ruleIdError })
  .meta({ examples: ['boiler-too-hot'] });

const hookIdError =
  'must be a hook id: letters, digits and . _ - , starting with a letter or digit, at most 64';
export const hookId = z
  .string({ error: hookIdError })
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: hookIdError })
  .meta({ examples: ['on-call'] });

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof units;
const longest = 366 * units.d;
const durationError = 'must be a duration such as 90s, 5m, 12h or 2d, at most 366d';

/** Milliseconds. */
const duration = z
  .string({ error: durationError })
  .transform((given, context) => {
    const [, count, unit] = /^(\d{1,11})(ms|s|m|h|d)$/.exec(given) ?? [];
    const milliseconds = Number(count) * units[unit as Unit];
    if (milliseconds > 0 && milliseconds <= longest) return milliseconds;
    context.addIssue({ code: 'custom', message: durationError, input: given });
    return z.NEVER;
  })
  .meta({ pattern: '^[0-9]{1,11}(ms|s|m|h|d)$', examples: ['5m'] });

/** `5m`: in the greatest unit that gives a whole number. */
function durationText(milliseconds: number): string {
  const [unit, size] = (Object.entries(units) as [Unit, number][]).findLast(
    ([, size]) => milliseconds % size === 0,
  ) ?? ['ms', 1];
  return `${milliseconds / size}${unit}`;
}

const numberError = 'must be a number of magnitude up to 1e300';
const number = z
  .number({ error: numberError })
  .refine((value) => Math.abs(value) <= 1e300, { error: numberError });
const countError = 'must be a whole number from 1 to 10000';
const count = z.int({ error: countError }).min(1, { error: countError }).max(10_000, { error: countError });
const bounds = {
  above: number.optional().meta({ description: 'Passed by values greater than this.' }),
  below: number.optional().meta({ description: 'Passed by values less than this.' }),
};
const persistence = {
  for: duration
    .optional()
    .meta({ description: 'The bound must be passed for so long, by the time of the device.' }),
  count: count.optional().meta({ description: 'The bound must be passed by so many readings in a row.' }),
  maxGap: duration.optional().meta({
    description:
      'A longer time without a reading starts `for` and `count` anew; an hour or `for`, whichever is more, when absent.',
  }),
};

const metricError = `must be a metric name: ${metricNameForm.source}, at most 128`;
const metric = z.string({ error: metricError }).refine(isMetricName, { error: metricError });
const severityError = `must be ${severities.join(', ')}`;
const labelsError = 'must be a label key';

const common = {
  name: text(200).meta({ description: 'What people call the rule.', examples: ['Boiler too hot'] }),
  selector: z
    .strictObject({
      deviceId: deviceId.optional(),
      type: text(64).optional(),
      labels: nameMap(labelKey, text(256), {
        most: 32,
        keyError: labelsError,
        countError: 'must have at most 32 labels',
      })
        .meta({ id: 'SelectedLabels' })
        .optional(),
    })
    .meta({ id: 'DeviceSelector' })
    .default({})
    .meta({ description: 'Devices for which all of this holds; every device when empty.' }),
  metric: metric.optional().meta({
    description: 'Every metric when absent, each by itself; for `silent`, any reading at all.',
    examples: ['temperature'],
  }),
  severity: z.enum(severities, { error: severityError }).default('warning'),
  notify: z
    .array(hookId, { error: 'must be an array of hook ids' })
    .max(20, { error: 'must be at most 20 hooks' })
    .optional()
    .meta({ description: 'Hooks that are sent its alarms.', examples: [['on-call']] }),
};

const sensitivityError = 'must be a number from 0.01 to 10';
const kindError = `must be ${ruleKinds.join(', ')}`;
/** A rule of any kind, with further fields beside those of the rule. */
const ruleWith = <Extra extends z.core.$ZodLooseShape>(extra: Extra) =>
  z
    .discriminatedUnion(
      'kind',
      [
        z.strictObject({
          kind: z.literal('range'),
          ...common,
          ...bounds,
          clearAbove: number.optional().meta({ description: 'What `above` is while an alarm is open.' }),
          clearBelow: number.optional().meta({ description: 'What `below` is while an alarm is open.' }),
          ...persistence,
          ...extra,
        }),
        z.strictObject({
          kind: z.literal('rate').meta({ description: 'Bounds are of the change per second.' }),
          ...common,
          ...bounds,
          reset: z
            .boolean({ error: 'must be true or false' })
            .optional()
            .meta({ description: 'The metric is a counter: a drop is its restart.' }),
          ...persistence,
          ...extra,
        }),
        z.strictObject({
          kind: z.literal('stuck'),
          ...common,
          for: duration.meta({ description: 'Unchanged for so long, by the time of the device.' }),
          tolerance: number
            .refine((value) => value >= 0, { error: 'must not be negative' })
            .optional()
            .meta({ description: 'What differs by at most this counts as unchanged.' }),
          ...extra,
        }),
        z.strictObject({
          kind: z.literal('silent'),
          ...common,
          for: duration.meta({ description: 'Nothing arrived for so long.' }),
          ...extra,
        }),
        z.strictObject({
          kind: z.literal('novel'),
          ...common,
          sensitivity: z
            .number({ error: sensitivityError })
            .min(0.01, { error: sensitivityError })
            .max(10, { error: sensitivityError })
            .optional()
            .meta({ description: 'In usual ranges: less raises more alarms; 0.06 when absent.' }),
          ...extra,
        }),
      ],
      { error: kindError },
    )
    .superRefine((rule, context) => {
      for (const { path, message } of conditionFaults(conditionOf(rule as RuleBody)))
        context.addIssue({ code: 'custom', path: [path], message, input: rule });
    });

/** A rule as it is sent. */
export const ruleBody = ruleWith({}).meta({ id: 'RuleDefinition' });

export const newRule = ruleWith({
  ruleId: ruleId.optional().meta({ description: 'Made by the server when absent: a UUID.' }),
}).meta({ id: 'NewRule' });

/** Some fields of a rule, `null` for one to be removed; checked once they are merged with the others. */
export const ruleChanges = z
  .looseObject({})
  .refine((given) => Object.keys(given).length > 0, { error: 'must have at least one field of the rule' })
  .meta({ description: 'Fields of the rule to be replaced; null removes one.', minProperties: 1 });

type RuleBody = z.output<typeof ruleBody>;

function conditionOf(rule: RuleBody): Condition {
  const fields = Object.entries(rule).filter(([name]) => name !== 'ruleId' && !Object.hasOwn(common, name));
  return defined(Object.fromEntries(fields)) as Condition;
}

export function definitionOf(rule: RuleBody): RuleDefinition {
  const { name, selector, metric, severity, notify = [] } = rule;
  return {
    name,
    selector: defined(selector) as RuleDefinition['selector'],
    ...(metric !== undefined && { metric }),
    severity,
    condition: conditionOf(rule),
    notify,
  };
}

const defined = (fields: object): object =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

/** A definition in the form in which it is sent. */
export function definitionJson({ condition, notify, ...others }: RuleDefinition): Record<string, unknown> {
  const texts = Object.entries(condition).map(([name, value]) =>
    name === 'for' || name === 'maxGap' ? [name, durationText(value as number)] : [name, value],
  );
  return { ...others, ...(notify.length > 0 && { notify }), ...Object.fromEntries(texts) };
}

export const ruleAnswer = z
  .looseObject({
    ruleId,
    revision: z.int().min(0).meta({ description: 'Counts the changes since creation, which is 0.' }),
    status: z.enum(['enabled', 'disabled', 'removed']),
    since: z.iso.datetime().meta({ description: 'Readings that arrive from then on are judged by it.' }),
    createdAt: z.iso.datetime(),
    changedAt: z.iso.datetime(),
    changedBy: z.string(),
    name: z.string(),
    kind: z.enum(ruleKinds),
    severity: z.enum(severities),
  })
  .meta({ id: 'Rule', description: 'With the fields of its definition.' });

export const ruleJson = ({ definition, since, ...rule }: StoredRule) => ({
  ...rule,
  since: isoTimeOf(Math.max(since, 0)),
  ...definitionJson(definition),
});
