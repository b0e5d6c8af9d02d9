import type { AlarmSummary, NewDelivery } from './detection.ts';

/**
 * `repeating`: it was delivered, and is to be sent again for as long as its alarm is open. `silenced`: it is due when a
 * silence ends, unless its alarm is cleared before. `gathering`: a summary that may still come to count more.
 */
export const deliveryStates = ['waiting', 'failed', 'repeating', 'silenced', 'gathering'] as const;
export type DeliveryState = (typeof deliveryStates)[number];

/** One that was not delivered yet, or is repeated. Others are removed once they were delivered. */
export type Delivery = Omit<NewDelivery, 'alarmId' | 'announcement'> & {
  /** `''` for a summary. */
  readonly alarmId: string;
  readonly announcement: NewDelivery['announcement'] | AlarmSummary;
  /** In order of the changes of an alarm. */
  readonly deliveryId: number;
  readonly state: DeliveryState;
  /** Requests that were begun. */
  readonly tries: number;
  /** Epoch milliseconds. Of one that is being sent, when it is tried again unless something is heard of it. */
  readonly dueAt: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Why the last try failed. */
  readonly error: string | null;
};

/** Every call throws `ReadModelsUnavailable`. */
export interface HookDeliveries {
  /** The hooks that have something to be sent by `now`. */
  dueHooks(now: number): Promise<readonly string[]>;
  /**
   * Takes the oldest delivery of each alarm that is due, until `until`: nobody else is given it before. Its tries are
   * counted. Nothing is repeated of an alarm that has a change to be sent. One whose silence has ended, or that has been gathered,
   * waits from then on.
   */
  take(hookId: string, now: number, until: number, limit: number): Promise<readonly Delivery[]>;
  /** Removes one that was delivered, and what was repeated of its alarm before. */
  delivered(delivery: Delivery): Promise<void>;
  /** It was delivered and is to be sent again at `dueAt`, instead of what was repeated of its alarm before. */
  repeatLater(delivery: Delivery, dueAt: number): Promise<void>;
  /** To be tried again. Changes nothing when another process has taken it meanwhile. */
  retryLater(delivery: Delivery, dueAt: number, error: string): Promise<void>;
  /** Not to be tried again by itself. Changes nothing when another process has taken it meanwhile. */
  failed(delivery: Delivery, error: string): Promise<void>;
  /** Of a hook, in order; all but those that are repeated when no state is given. */
  list(
    hookId: string,
    filter: { readonly state?: DeliveryState; readonly after?: number; readonly limit: number },
  ): Promise<readonly Delivery[]>;
  /** Failed ones become due at `now`, as if they were new: all of a hook, or one. Answers how many. */
  retry(hookId: string, now: number, deliveryId?: number): Promise<number>;
  /** Removes what waits for a hook and what failed. */
  drop(hookId: string): Promise<void>;
  /** Of those that are waiting or failed. */
  counts(): Promise<
    readonly { readonly state: DeliveryState; readonly count: number; readonly oldest: number }[]
  >;
}

/** What came of a request. */
export type HookAnswer =
  | { readonly is: 'answered'; readonly status: number; readonly retryAfter: string | undefined }
  /** Nothing was heard: no connection, or no answer in time. */
  | { readonly is: 'unreachable'; readonly reason: string }
  /** The address is none that may be sent to. */
  | { readonly is: 'refused'; readonly reason: string };

export type HookRequest = {
  readonly url: string;
  /** What it is signed with. */
  readonly secret: string;
  /** The same at each try. */
  readonly id: string;
  /** Of this try, in epoch seconds. */
  readonly timestamp: number;
  /** Of the body, which is JSON. */
  readonly contentType: string;
  readonly body: string;
};

/** Sends to addresses outside, and to those inside that are allowed. */
export interface HookSender {
  post(request: HookRequest, signal: AbortSignal): Promise<HookAnswer>;
  /** Why an address may not be sent to, where the URL alone says so. */
  faultOf(url: string): string | undefined;
}
