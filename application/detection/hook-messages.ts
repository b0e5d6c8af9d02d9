import type { Announcement } from '../ports/detection.ts';
import type { HookRequest } from '../ports/hooks.ts';
import type { StoredHook } from './hooks.ts';

const second = 1000;

/** The request that tells a hook of a change of an alarm at `now`; `eventId` is the same at each try. */
export function alarmMessage(
  { definition: { url, secret } }: StoredHook,
  eventId: string,
  announcement: Announcement,
  now: number,
): HookRequest {
  const { change, at, correlationId, notify: _, ...facts } = announcement;
  const time = isoTime(at);
  const event = {
    id: eventId,
    source: '/api/v1/alarms',
    type: `fieldlog.alarm.${change}`,
    subject: announcement.alarmId,
    time,
    data: { ...facts, change, at: time, correlationId },
  };
  return signed(event, url, secret, now);
}

/** A request that says nothing of any alarm, so that a receiver can be tried. */
export function testMessage(
  { hookId, definition: { url, secret } }: StoredHook,
  id: string,
  now: number,
): HookRequest {
  const source = '/api/v1/hooks';
  const data = { hookId, message: 'A test of this hook: no alarm was raised' };
  const event = { id, source, type: 'fieldlog.hook.test', subject: hookId, time: isoTime(now), data };
  return signed(event, url, secret, now);
}

const signed = (
  { data, ...attributes }: { readonly id: string; readonly data: object },
  url: string,
  secret: string,
  now: number,
): HookRequest => ({
  url,
  secret,
  id: attributes.id,
  timestamp: Math.floor(now / second),
  body: JSON.stringify({ specversion: '1.0', ...attributes, datacontenttype: 'application/json', data }),
});

/** A device's clock may say what no date can. */
const isoTime = (at: number): string => new Date(Math.min(Math.max(at, -8.64e15), 8.64e15)).toISOString();
