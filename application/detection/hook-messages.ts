import { timeText } from '../../domain/detection/explanation-texts.ts';
import type { Announcement } from '../ports/detection.ts';
import type { Delivery, HookRequest } from '../ports/hooks.ts';
import { summaryEvent } from './alarm-summary.ts';
import type { StoredHook } from './hooks.ts';

const second = 1000;
const minute = 60 * second;

/** An Alertmanager takes an alert for resolved that it has not heard of for as long. */
const forgottenAfter = 15 * minute;
/** Two of these may be lost. */
export const repeatedAfter = 5 * minute;

/** Whether what was delivered is to be sent again for as long as its alarm is open. */
export const isRepeated = ({ definition }: StoredHook, { announcement }: Delivery): boolean =>
  definition.kind === 'alertmanager' && ['raised', 'escalated'].includes(announcement.change);

/**
 * The request that tells a hook of a change of an alarm, or of many, at `now`. None to an Alertmanager, whose alerts are
 * what is wrong now, about many: it would send a summary to people as one alert more.
 */
export function deliveryMessage(
  hook: StoredHook,
  { eventId, announcement }: Pick<Delivery, 'eventId' | 'announcement'>,
  now: number,
): HookRequest | undefined {
  if (announcement.change !== 'summarized') return alarmMessage(hook, eventId, announcement, now);
  if (hook.definition.kind === 'alertmanager') return undefined;
  return eventRequest(hook, eventId, summaryEvent(hook.hookId, announcement), now);
}

function alarmMessage(
  hook: StoredHook,
  eventId: string,
  announcement: Announcement,
  now: number,
): HookRequest {
  if (hook.definition.kind === 'alertmanager')
    return alertRequest(hook, eventId, alertOf(announcement, now), now);
  const { alarmId, change, at, correlationId, notify: _, actor: __, ...facts } = announcement;
  const time = timeText(at);
  const data = { alarmId, ...facts, change, at: time, correlationId };
  const about = { source: '/api/v1/alarms', type: `fieldlog.alarm.${change}`, subject: alarmId, time };
  return eventRequest(hook, eventId, { about, data }, now);
}

/** A request that says nothing of any alarm, so that a receiver can be tried. */
export function testMessage(hook: StoredHook, id: string, now: number): HookRequest {
  const { hookId } = hook;
  const message = 'A test of this hook: no alarm was raised';
  const time = timeText(now);
  if (hook.definition.kind === 'alertmanager') {
    const labels = { alertname: 'Test of a hook', source, hook_id: hookId, severity: 'info' };
    const endsAt = timeText(now + minute);
    return alertRequest(hook, id, { labels, annotations: { summary: message }, startsAt: time, endsAt }, now);
  }
  const about = { source: '/api/v1/hooks', type: 'fieldlog.hook.test', subject: hookId, time };
  return eventRequest(hook, id, { about, data: { hookId, message } }, now);
}

/** A CloudEvent in JSON. */
const eventRequest = (
  { definition: { url, secret } }: StoredHook,
  id: string,
  { about, data }: { readonly about: object; readonly data: object },
  now: number,
): HookRequest => ({
  url,
  secret,
  id,
  timestamp: Math.floor(now / second),
  contentType: 'application/cloudevents+json',
  body: JSON.stringify({ specversion: '1.0', id, ...about, datacontenttype: 'application/json', data }),
});

const source = 'fieldlog';

/** As the Alertmanager's API v2 has it. */
type Alert = {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt?: string;
  readonly endsAt: string;
};

/** By the server's clock, not the device's: an end in the future would not be one. */
function alertOf(announcement: Announcement, now: number): Alert {
  const { alarmId, ruleId, ruleName, kind, severity, deviceId, metric } = announcement;
  const { change, at, value, explanation } = announcement;
  const labels = {
    alertname: ruleName,
    source,
    severity,
    device_id: deviceId,
    ...(metric !== null && { metric }),
    rule_id: ruleId,
    kind,
    // Else the end of an alarm that is delivered late would be that of the next one.
    alarm_id: alarmId,
  };
  const annotations = { summary: explanation, ...(value !== null && { value: String(value) }) };
  // Without a start it ends the alert that is there, whenever that began.
  if (change === 'cleared') return { labels, annotations, endsAt: timeText(now) };
  const endsAt = timeText(now + forgottenAfter);
  return { labels, annotations, startsAt: timeText(Math.min(at, now)), endsAt };
}

function alertRequest(
  { definition: { url, secret } }: StoredHook,
  id: string,
  alert: Alert,
  now: number,
): HookRequest {
  const address = new URL(url);
  address.pathname = `${address.pathname.replace(/\/$/, '')}/api/v2/alerts`;
  return {
    url: address.href,
    secret,
    id,
    timestamp: Math.floor(now / second),
    contentType: 'application/json',
    body: JSON.stringify([alert]),
  };
}
