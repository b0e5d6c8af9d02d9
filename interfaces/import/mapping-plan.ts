import { z } from 'zod';
import { isDeviceId, isMetricName } from '../../domain/telemetry.ts';

const names = z.array(z.string()).min(1).readonly();

/** Everything that was settled of a file before its first reading is made, in the form rejects files have it. */
export const mappingPlan = z.strictObject({
  /** Columns; Fieldlog's own export of points, whose values are what they are; or readings as the API takes them. */
  form: z.enum(['columns', 'points', 'readings']),
  device: z.union([
    z.strictObject({ id: z.string().refine(isDeviceId) }),
    z.strictObject({ columns: names, prefix: z.string(), slug: z.boolean() }),
  ]),
  time: z.strictObject({
    columns: names,
    format: z.string(),
    zone: z.string(),
    epoch: z.enum(['s', 'ms', 'us', 'ns']).optional(),
  }),
  /** One metric a row, which a column names. */
  long: z.strictObject({ metric: z.string(), value: z.string(), unit: z.string().optional() }).optional(),
  /** By column, or by the name in the long form. */
  metrics: z
    .array(
      z.strictObject({
        column: z.string(),
        metric: z.string().refine(isMetricName),
        kind: z.enum(['number', 'text']),
        unit: z.string().optional(),
      }),
    )
    .readonly(),
  decimal: z.enum(['.', ',']),
  nulls: z.array(z.string()).readonly(),
  flatten: z.boolean(),
});

export type MappingPlan = z.output<typeof mappingPlan>;
