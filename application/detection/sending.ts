import { pause } from '../pause.ts';
import type { AlarmQueries } from '../ports/detection.ts';
import type { Delivery, HookAnswer, HookDeliveries, HookSender } from '../ports/hooks.ts';
import type { Clock, Ids, Log } from '../ports/system.ts';
import { deliveryMessage, isRepeated, repeatedAfter, testMessage } from './hook-messages.ts';
import type { Hooks, StoredHook } from './hooks.ts';

/** What came of a try, for metrics. */
export type SendingOutcome = 'delivered' | 'retried' | 'failed';

type SendingPorts = {
  readonly deliveries: HookDeliveries;
  readonly hooks: Pick<Hooks, 'find' | 'set'>;
  readonly sender: HookSender;
  /** To know which alarms are still open. */
  readonly alarms: Pick<AlarmQueries, 'find'>;
  readonly ids: Ids;
  readonly clock: Clock;
  readonly log: Log;
  readonly onTried: (outcome: SendingOutcome) => void;
  /** A number from 0 to 1. */
  readonly random: () => number;
};

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

/** After the first try, the second and so on. */
const waits = [5 * second, minute, 10 * minute, hour, 6 * hour, 24 * hour];
const longestRetryAfter = 24 * hour;
/** Longer than a request may take: whoever has taken a delivery and is not heard of has ended. */
const takenMilliseconds = 30 * second;
const atOnce = 4;
const idleMilliseconds = 500;
const failureMilliseconds = 5000;

/**
 * Sends what is due to the hooks until `signal` is aborted: of each hook a few at a time and of each alarm one after the
 * other, so that no hook waits for another. At least once: what was sent by a process that ended before it noted so is
 * sent again, under the same id.
 */
export async function sendToHooks(ports: SendingPorts, signal: AbortSignal): Promise<void> {
  const { deliveries, clock, log } = ports;
  const busy = new Map<string, Promise<void>>();
  while (!signal.aborted) {
    let idle = idleMilliseconds;
    try {
      for (const hookId of await deliveries.dueHooks(clock.now())) {
        if (busy.has(hookId)) continue;
        const sending = sendDue(hookId, ports, signal)
          .catch((err) => log.warn({ hookId, err }, 'webhook deliveries interrupted, will retry'))
          .finally(() => busy.delete(hookId));
        busy.set(hookId, sending);
      }
    } catch (err) {
      log.warn({ err }, 'webhook deliveries not read, will retry');
      idle = failureMilliseconds;
    }
    await pause(idle, signal);
  }
  await Promise.all(busy.values());
}

/** What a hook answered to a test. */
type TestAnswer = {
  /** The `webhook-id` of the request. */
  readonly eventId: string;
  readonly delivered: boolean;
  /** `null` when nothing was answered. */
  readonly status: number | null;
  /** Why it was not delivered. */
  readonly error: string | null;
};

/** Sends a hook one message that is about no alarm, whether it is enabled or not, and never again. */
export async function sendTest(
  hook: StoredHook,
  { sender, ids, clock }: Pick<SendingPorts, 'sender' | 'ids' | 'clock'>,
  signal: AbortSignal,
): Promise<TestAnswer> {
  const eventId = ids.uuidV7();
  const answer = await sender.post(testMessage(hook, eventId, clock.now()), signal);
  const delivered = isDelivered(answer);
  const status = answer.is === 'answered' ? answer.status : null;
  return { eventId, delivered, status, error: delivered ? null : reasonOf(answer) };
}

/** Sends what is due to one hook, until nothing is. */
async function sendDue(hookId: string, ports: SendingPorts, signal: AbortSignal): Promise<void> {
  const { deliveries, hooks, clock, log } = ports;
  while (!signal.aborted) {
    const hook = await hooks.find(hookId);
    if (!hook || hook.status === 'removed') {
      await deliveries.drop(hookId);
      log.info({ hookId }, 'webhook deliveries removed: the hook is removed');
      return;
    }
    const now = clock.now();
    const taken = await deliveries.take(hookId, now, now + takenMilliseconds, atOnce);
    if (taken.length === 0) return;
    await Promise.all(taken.map((delivery) => send(delivery, hook, ports, signal)));
  }
}

async function send(
  delivery: Delivery,
  hook: StoredHook,
  ports: SendingPorts,
  signal: AbortSignal,
): Promise<void> {
  const { deliveries, hooks, sender, ids, clock, log, onTried, random } = ports;
  const { hookId, eventId } = delivery;
  const isRepeating = delivery.state === 'repeating';
  if (isRepeating && !(await isOpen(delivery.alarmId))) return deliveries.delivered(delivery);
  if (hook.status === 'disabled') return isRepeating ? repeatLater() : fail('the hook is disabled');
  const request = deliveryMessage(hook, delivery, clock.now());
  if (!request) {
    log.info(
      { hookId, eventId, ...delivery.announcement },
      'not sent: an Alertmanager is not told of old alarms',
    );
    return deliveries.delivered(delivery);
  }
  const answer = await sender.post(request, signal);
  // It is due again soon, and may have been heard.
  if (signal.aborted && answer.is !== 'answered') return;
  if (isDelivered(answer)) {
    if (isRepeated(hook, delivery)) await repeatLater();
    else await deliveries.delivered(delivery);
    onTried('delivered');
    return;
  }
  const reason = reasonOf(answer);
  if (answer.is === 'answered' && answer.status === 410) {
    await hooks.set(hookId, 'disable', { correlationId: ids.uuidV7(), actor: 'detection' });
    log.warn({ hookId }, 'webhook disabled: the receiver answered 410 Gone');
    return fail(reason);
  }
  const scheduled = waits[delivery.tries - 1];
  const wait = isRepeating ? Math.min(scheduled ?? repeatedAfter, repeatedAfter) : scheduled;
  if (wait === undefined || !isWorthRepeating(answer)) return fail(reason);
  // Up to a tenth more, so that not all are tried at one moment.
  const jittered = wait * (1 + random() / 10);
  const dueAt = clock.now() + Math.max(jittered, retryAfterOf(answer, clock.now()));
  await deliveries.retryLater(delivery, Math.ceil(dueAt), reason);
  onTried('retried');

  /** The alarm may have been erased with its device, or its end not have been delivered. */
  async function isOpen(alarmId: string): Promise<boolean> {
    return (await ports.alarms.find(alarmId))?.state === 'open';
  }

  function repeatLater(): Promise<void> {
    return deliveries.repeatLater(delivery, clock.now() + repeatedAfter);
  }

  async function fail(error: string): Promise<void> {
    await deliveries.failed(delivery, error);
    onTried('failed');
    log.warn({ hookId, eventId, error }, 'webhook delivery failed');
  }
}

const isDelivered = (answer: HookAnswer): boolean =>
  answer.is === 'answered' && answer.status >= 200 && answer.status < 300;

const isWorthRepeating = (answer: HookAnswer): boolean =>
  answer.is === 'unreachable' ||
  (answer.is === 'answered' && (answer.status >= 500 || answer.status === 408 || answer.status === 429));

const reasonOf = (answer: HookAnswer): string =>
  answer.is === 'answered' ? `the receiver answered ${answer.status}` : answer.reason;

/** Milliseconds that the receiver asks for: seconds or a date, RFC 9110. */
function retryAfterOf(answer: HookAnswer, now: number): number {
  if (answer.is !== 'answered' || answer.retryAfter === undefined) return 0;
  const given = answer.retryAfter.trim();
  const wait = /^\d{1,9}$/.test(given) ? Number(given) * second : Date.parse(given) - now;
  return Number.isNaN(wait) ? 0 : Math.min(Math.max(wait, 0), longestRetryAfter);
}
