import type { DecodeContext } from './formats/reading-set.ts';
import type { ProblemKind } from './problems.ts';
import type { RequestContext } from './request-context.ts';

/** Bytes of a body, inflated; readings and samples in it. */
export type FormLimits = { readonly bytes: number; readonly readings: number };

export const decodeContext = (
  { readings }: FormLimits,
  { identity }: Pick<RequestContext, 'identity'>,
  device = identity.is === 'device' ? identity.deviceId : undefined,
): DecodeContext => ({ limits: { readings, samples: 10 * readings }, device, now: Date.now() });

/** For clients whose protocol has no answer for it. */
export const takenHeaders = (accepted: number, rejected: number, collapsed = 0): Record<string, string> => ({
  'Fieldlog-Accepted': String(accepted),
  'Fieldlog-Rejected': String(rejected),
  ...(collapsed > 0 && { 'Fieldlog-Collapsed': String(collapsed) }),
});

export const takenHeadersSpec = {
  'Fieldlog-Accepted': 'How many readings are durable: samples of one device and time are one.',
  'Fieldlog-Rejected': 'How many samples or readings were rejected.',
  'Fieldlog-Collapsed':
    'How many samples have a time that differs from that of another of their series below the millisecond only.',
};

/** What may stand in the way of readings, in whatever form they come. */
export const takingProblems = [
  'malformed-encoding',
  'too-many-items',
  'not-this-device',
  'device-not-registered',
  'device-suspended',
  'device-decommissioned',
  'readings-refused',
] as const satisfies readonly ProblemKind[];
