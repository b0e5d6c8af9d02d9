import { z } from 'zod';
import type { StoredHook } from '../../application/detection/hooks.ts';
import { type Delivery, deliveryStates } from '../../application/ports/hooks.ts';
import { hookKinds } from '../../domain/detection/hook.ts';
import { isoTimeOf } from './operation-schemas.ts';
import { hookId } from './rule-schemas.ts';

const urlError =
  'must be an http:// or https:// URL without a user, a password or a fragment, at most 2000 characters';
export const hookUrl = z
  .string({ error: urlError })
  .max(2000, { error: urlError })
  .refine(isHookUrl, { error: urlError })
  .meta({
    description:
      'Where alarms are posted, or the address of an Alertmanager; public, or one that the server permits.',
    pattern: '^https?://[A-Za-z0-9]',
    examples: ['https://hooks.example/alarms'],
  });

function isHookUrl(text: string): boolean {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { username, password, hash } = new URL(text);
  return username === '' && password === '' && hash === '';
}

const secretError = 'must be whsec_ and 24 to 64 bytes in base64';
/** Eight groups of three bytes to twenty-one and a byte; bits that belong to no byte are 0. */
const secretForm =
  /^whsec_(?:(?:[A-Za-z0-9+/]{4}){8,20}(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?|(?:[A-Za-z0-9+/]{4}){21}(?:[A-Za-z0-9+/][AQgw]==)?)$/;
export const hookSecret = z
  .string({ error: secretError })
  .regex(secretForm, { error: secretError })
  .meta({ description: 'What requests are signed with, as Standard Webhooks have it.' });

export const hookKind = z.enum(hookKinds, { error: 'must be webhook or alertmanager' }).meta({
  description:
    '`webhook`: a signed CloudEvent for each change. `alertmanager`: alerts for the API v2 of an Alertmanager.',
});

export const hookAnswer = z
  .strictObject({
    hookId,
    kind: hookKind,
    revision: z.int().min(0).meta({ description: 'Counts the changes since creation, which is 0.' }),
    status: z.enum(['enabled', 'disabled', 'removed']),
    url: z.string(),
    createdAt: z.iso.datetime(),
    changedAt: z.iso.datetime(),
    changedBy: z.string(),
  })
  .meta({ id: 'Hook', description: 'Without its secret.' });

export const createdHook = hookAnswer
  .extend({ secret: z.string().meta({ description: 'Shown here alone.' }) })
  .meta({ id: 'CreatedHook', description: 'With its secret.' });

export const deliveryAnswer = z
  .strictObject({
    deliveryId: z.int(),
    alarmId: z.string().nullable().meta({ description: 'Null for a summary of old alarms.' }),
    eventId: z.string().meta({ description: 'The `webhook-id`: the same at each try.' }),
    change: z.enum(['raised', 'escalated', 'cleared', 'summarized']),
    state: z.enum(deliveryStates).meta({
      description:
        '`repeating`: it was delivered, and is sent again while its alarm is open; `silenced`: it is sent when a silence ends; `gathering`: a summary that waits for more old alarms.',
    }),
    tries: z.int().meta({ description: 'Requests since it was created or last retried.' }),
    dueAt: z.iso.datetime().nullable().meta({ description: 'Of the next try; null for one that failed.' }),
    createdAt: z.iso.datetime(),
    error: z.string().nullable().meta({ description: 'Why the last try failed.' }),
  })
  .meta({ id: 'HookDelivery' });

export const hookTestAnswer = z
  .strictObject({
    eventId: z.string().meta({ description: 'The `webhook-id` of the request.' }),
    delivered: z.boolean().meta({ description: 'The receiver answered 2xx.' }),
    status: z.int().nullable().meta({ description: 'What the receiver answered; null for no answer.' }),
    error: z.string().nullable().meta({ description: 'Why it was not delivered.' }),
  })
  .meta({ id: 'HookTest' });

export const hookJson = ({ definition: { kind = 'webhook', url }, ...hook }: StoredHook) => ({
  ...hook,
  kind,
  url,
});

export const deliveryJson = ({
  announcement,
  alarmId,
  hookId: _,
  dueAt,
  createdAt,
  ...delivery
}: Delivery) => ({
  ...delivery,
  alarmId: alarmId === '' ? null : alarmId,
  change: announcement.change,
  dueAt: delivery.state === 'failed' ? null : isoTimeOf(dueAt),
  createdAt: isoTimeOf(createdAt),
});
