import { z } from 'zod';
import { emptyPosition } from '../../application/live/live-position.ts';
import type { AskedPosition } from '../../application/live/live-streams.ts';
import type { Scope } from '../../application/ports/api-keys.ts';
import { rollupLevels } from '../../domain/rollup.ts';
import { deviceFilterParameters } from './device-query-routes.ts';
import { aggregateParameter, metricParameter } from './telemetry-schemas.ts';
import { deviceId, list, single } from './validation.ts';

export const liveKinds = ['readings', 'buckets', 'devices', 'alarms'] as const;
export type LiveKind = (typeof liveKinds)[number];

const kindError = `must be of ${liveKinds.join(', ')}`;
const whole = '(?:0|[1-9]\\d{0,19})';
const positionForm = new RegExp(
  `^(devices|telemetry|alarms|buckets):(?:(\\d{1,9}):(${whole}(?:-${whole}){0,3})|${emptyPosition})$`,
);
const fromError = 'must be the id of an event of a live stream, or positions such as telemetry:0:42';

export const livePositions = single(fromError)
  .transform((given, context): readonly AskedPosition[] => {
    if (given === emptyPosition) return [];
    const parts = given.split(',').map((part) => positionForm.exec(part));
    if (parts.length <= 2000 && parts.every((part) => part !== null))
      return parts.map(([, source, partition = 0, position = null]) => ({
        source: source as AskedPosition['source'],
        partition: Number(partition),
        position,
      }));
    context.addIssue({ code: 'custom', message: fromError, input: given });
    return z.NEVER;
  })
  .meta({ examples: ['telemetry:0:42'] });

const intervalError = `must be ${rollupLevels.join(', ')}`;

const nameError =
  'must be the name of a live query: letters, digits and . _ - , starting with a letter or digit, at most 64';
export const liveQueryName = single(nameError)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: nameError })
  .meta({ examples: ['boiler-averages'] });

const selection = {
  events: list(z.enum(liveKinds, { error: kindError }), kindError)
    .optional()
    .meta({ description: 'What is sent: repeated, or with commas. readings when absent.' }),
  deviceId: list(deviceId, 'must be at most 100 devices')
    .optional()
    .meta({ description: 'These devices only: repeated, or with commas. All when absent.' }),
  ...deviceFilterParameters.shape,
  metric: metricParameter,
  interval: z
    .enum(rollupLevels, { error: intervalError })
    .optional()
    .meta({ description: 'Of buckets, by the calendar of UTC; 1m when absent.' }),
  aggregate: aggregateParameter,
};

/** What a live query may have that is saved. */
export const liveSelection = z.strictObject(selection).superRefine(checkSelection);
export const liveSelectionNames = Object.keys(selection);

export const liveParameters = z
  .strictObject({
    query: liveQueryName.optional().meta({
      description: 'The name of a saved live query, instead of all other parameters but `from`.',
    }),
    ...selection,
    from: livePositions.optional().meta({
      description:
        'Continue behind this: the `id` of an event, or the `Fieldlog-Position` of a query. Begins with a snapshot when absent.',
    }),
  })
  .superRefine((given, context) => {
    checkSelection(given, context);
    if (given.query === undefined) return;
    for (const [name, value] of Object.entries(given))
      if (name !== 'query' && name !== 'from' && value !== undefined)
        context.addIssue({
          code: 'custom',
          path: [name],
          message: 'is of the saved query: leave it out',
          input: value,
        });
  });

type Selection = {
  readonly events?: readonly LiveKind[] | undefined;
  readonly interval?: unknown;
  readonly aggregate?: unknown;
};

function checkSelection({ events = [], ...given }: Selection, context: z.core.$RefinementCtx): void {
  if (events.includes('buckets') && events.includes('readings'))
    context.addIssue({
      code: 'custom',
      path: ['events'],
      message: 'must have buckets or readings: each is a stream of its own',
      input: events,
    });
  for (const name of ['interval', 'aggregate'] as const)
    if (!events.includes('buckets') && given[name] !== undefined)
      context.addIssue({ code: 'custom', path: [name], message: 'needs events=buckets', input: given[name] });
}

const scopeOfKind: Readonly<Record<LiveKind, Scope>> = {
  readings: 'telemetry:read',
  buckets: 'telemetry:read',
  devices: 'devices:read',
  alarms: 'devices:read',
};

export const liveScopes = (kinds: readonly LiveKind[]): readonly Scope[] => [
  ...new Set(kinds.map((kind) => scopeOfKind[kind])),
];
