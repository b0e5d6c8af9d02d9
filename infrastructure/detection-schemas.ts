import { z } from 'zod';
import { hookKinds } from '../domain/detection/hook.ts';
import { ruleKinds, severities } from '../domain/detection/rule.ts';
import { isDeviceId, isMetricName } from '../domain/telemetry.ts';

// The data of the events of rules, alarms and hooks as they are stored. What no field says is not there.

const id = z.string().min(1);
const time = z.number();
const duration = z.int().min(0);
const deviceId = z.string().refine(isDeviceId, 'is not a device id');
const metric = z.string().refine(isMetricName, 'is not a metric name');
const severity = z.enum(severities);

const bounds = { above: z.number().optional(), below: z.number().optional() };
const persistence = {
  for: duration.optional(),
  count: z.int().min(1).optional(),
  maxGap: duration.optional(),
};
const condition = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('range'),
    ...bounds,
    clearAbove: z.number().optional(),
    clearBelow: z.number().optional(),
    ...persistence,
  }),
  z.object({ kind: z.literal('rate'), ...bounds, reset: z.boolean().optional(), ...persistence }),
  z.object({ kind: z.literal('stuck'), for: duration, tolerance: z.number().optional() }),
  z.object({ kind: z.literal('silent'), for: duration }),
  z.object({ kind: z.literal('novel'), sensitivity: z.number().optional() }),
]);

const since = { ruleId: id, since: time };
const change = {
  alarmId: id,
  at: time,
  value: z.number().nullable(),
  magnitude: z.number(),
  explanation: z.string(),
};

export const ruleSchemas = {
  defined: z.object({
    ...since,
    name: z.string(),
    selector: z.object({
      deviceId: deviceId.optional(),
      type: z.string().optional(),
      labels: z.record(z.string(), z.string()).optional(),
    }),
    metric: metric.optional(),
    severity,
    condition,
    notify: z.array(id),
  }),
  other: z.object(since),
};

export const alarmSchemas = {
  raised: z.object({
    ...change,
    ruleId: id,
    ruleRevision: z.int(),
    ruleName: z.string(),
    kind: z.enum(ruleKinds),
    severity,
    deviceId,
    metric: metric.nullable(),
    notify: z.array(id),
  }),
  changed: z.object(change),
  silence: z.object({ deviceId, ruleId: id, metric: metric.nullable(), due: time }),
  clearing: z.object({
    alarmId: id,
    deviceId,
    ruleId: id,
    metric: metric.nullable(),
    note: z.string().nullable(),
  }),
  acknowledged: z.object({ alarmId: id, note: z.string().nullable() }),
  silenced: z.object({ alarmId: id, until: time, note: z.string().nullable() }),
};

export const hookSchemas = {
  defined: z.object({
    hookId: id,
    kind: z.enum(hookKinds).optional(),
    url: z.string(),
    secret: z.string(),
  }),
  other: z.object({ hookId: id }),
};
