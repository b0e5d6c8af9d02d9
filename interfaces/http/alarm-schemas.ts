import { z } from 'zod';
import type { PreviewedChange } from '../../application/detection/preview.ts';
import type { AlarmView } from '../../application/ports/detection.ts';
import { ruleKinds, severities } from '../../domain/detection/rule.ts';
import { isoTimeOf } from './operation-schemas.ts';

const time = z.iso.datetime();
const metric = z
  .string()
  .nullable()
  .meta({ description: 'Null for an alarm about any reading of the device.' });
const value = z.number().nullable().meta({ description: 'Null where no value raised it.' });
const magnitude = z
  .number()
  .meta({ description: 'How far beyond the bound; of novelty, in usual ranges; of silence, seconds.' });
const explanation = z.string().meta({
  description: 'A sentence with the numbers it rests on.',
  examples: ['31.5 is above 30, in 4 readings since 2026-03-01T00:00:00.000Z'],
});

export const alarmAnswer = z
  .strictObject({
    alarmId: z.string(),
    ruleId: z.string(),
    ruleRevision: z.int().meta({ description: 'Of the rule, when it raised the alarm.' }),
    ruleName: z.string(),
    kind: z.enum(ruleKinds),
    severity: z.enum(severities),
    deviceId: z.string(),
    metric,
    state: z.enum(['open', 'acknowledged', 'cleared']).meta({
      description: '`acknowledged`: open, and acknowledged.',
    }),
    raisedAt: time.meta({ description: 'The time of the device, or of silence when it was due.' }),
    value,
    magnitude,
    explanation,
    escalations: z.int().meta({ description: 'How often it was found again while it was open.' }),
    clearedAt: time.nullable(),
    clearedBy: z.string().nullable().meta({ description: 'Why it was cleared.' }),
    acknowledgedAt: time.nullable(),
    acknowledgedBy: z.string().nullable(),
    note: z.string().nullable().meta({ description: 'Of whoever acknowledged it.' }),
    silencedUntil: time.nullable().meta({
      description:
        'Hooks are sent nothing new of its rule, device and metric until then; it may have passed.',
    }),
    silencedBy: z.string().nullable(),
    silenceNote: z.string().nullable().meta({ description: 'Of whoever silenced it.' }),
    correlationId: z
      .string()
      .meta({ description: 'Of the request that brought the reading; of silence, of its notice.' }),
    position: z
      .string()
      .meta({ description: 'Of the reading in the telemetry log; of silence, of its notice.' }),
  })
  .meta({ id: 'Alarm' });

export function alarmJson({ acknowledgement, silencing, ...alarm }: AlarmView) {
  const { raisedAt, clearedAt, partition, state, notify: _, ...others } = alarm;
  return {
    ...others,
    state: state === 'open' && acknowledgement ? ('acknowledged' as const) : state,
    raisedAt: isoTimeOf(raisedAt),
    clearedAt: clearedAt === null ? null : isoTimeOf(clearedAt),
    acknowledgedAt: acknowledgement && isoTimeOf(acknowledgement.at),
    acknowledgedBy: acknowledgement?.by ?? null,
    note: acknowledgement?.note ?? null,
    silencedUntil: silencing && isoTimeOf(silencing.until),
    silencedBy: silencing?.by ?? null,
    silenceNote: silencing?.note ?? null,
    position: `telemetry:${partition}:${alarm.position}`,
  };
}

export const previewAnswer = z
  .strictObject({
    points: z.int().meta({ description: 'Values judged.' }),
    devices: z.int().meta({ description: 'Devices that have any.' }),
    raised: z.int().meta({ description: 'Alarms there would have been.' }),
    changes: z
      .array(
        z.strictObject({
          deviceId: z.string(),
          metric,
          change: z.enum(['raised', 'escalated', 'cleared']),
          at: time,
          value,
          magnitude,
          explanation,
        }),
      )
      .meta({ description: 'By device, then in order of time; the first thousand.' }),
    isCut: z.boolean().meta({ description: 'There are more changes than these.' }),
  })
  .meta({ id: 'RulePreview' });

export const transitionJson = ({ at, ...change }: PreviewedChange) => ({ ...change, at: isoTimeOf(at) });
