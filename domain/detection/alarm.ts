import { type Decider, Rejection } from '../decider.ts';
import type { RuleKind, Severity } from './rule.ts';

/** What a rule has found in one series. At most one alarm of a rule, a device and a metric is open. */
export type AlarmFacts = {
  readonly alarmId: string;
  readonly ruleId: string;
  readonly ruleRevision: number;
  readonly ruleName: string;
  readonly kind: RuleKind;
  readonly severity: Severity;
  readonly deviceId: string;
  /** `null` for an alarm about any reading of the device. */
  readonly metric: string | null;
};

/** One change of an alarm. `at`: epoch milliseconds. */
export type AlarmChange = {
  readonly at: number;
  readonly value: number | null;
  readonly magnitude: number;
  readonly explanation: string;
};

// Type names and field names below are stored for ever. Add; never rename.
export type AlarmEvent =
  | {
      readonly type: 'AlarmRaised';
      readonly data: AlarmFacts &
        AlarmChange & { /** Ids of webhooks. */ readonly notify: readonly string[] };
    }
  | {
      readonly type: 'AlarmEscalated' | 'AlarmCleared';
      readonly data: { readonly alarmId: string } & AlarmChange;
    }
  | {
      readonly type: 'AlarmAcknowledged';
      readonly data: { readonly alarmId: string; readonly note: string | null };
    }
  | {
      readonly type: 'AlarmSilenced';
      readonly data: {
        readonly alarmId: string;
        /** Epoch milliseconds. */
        readonly until: number;
        readonly note: string | null;
      };
    };

export type AlarmCommand =
  | { readonly type: 'AcknowledgeAlarm'; readonly alarmId: string; readonly note: string | null }
  | {
      /** Its rule, device and metric send nothing to hooks until then. */
      readonly type: 'SilenceAlarm';
      readonly alarmId: string;
      /** Epoch milliseconds; a time that has passed ends a silence. */
      readonly until: number;
      readonly note: string | null;
    };

/** An alarm that was acknowledged stays so, whether it is open or cleared. */
type Alarm =
  | { readonly status: 'missing' }
  | {
      readonly status: 'open' | 'cleared';
      readonly isAcknowledged: boolean;
      readonly silencedUntil?: number;
    };

export const alarmStream = (alarmId: string): string => `alarm-${alarmId}`;

/** The projection raises, escalates and clears; a person acknowledges and silences. */
export const alarmDecider: Decider<Alarm, AlarmCommand, AlarmEvent> = {
  initial: { status: 'missing' },

  decide(command, alarm) {
    const { alarmId, note } = command;
    if (alarm.status === 'missing')
      throw new Rejection(
        'AlarmNotFound',
        `There is no alarm ${alarmId}, or it was raised only a moment ago`,
      );
    if (command.type === 'AcknowledgeAlarm')
      return alarm.isAcknowledged ? [] : [{ type: 'AlarmAcknowledged', data: { alarmId, note } }];
    const { until } = command;
    return alarm.silencedUntil === until ? [] : [{ type: 'AlarmSilenced', data: { alarmId, until, note } }];
  },

  evolve(alarm, event) {
    if (event.type === 'AlarmRaised') return { status: 'open', isAcknowledged: false };
    if (alarm.status === 'missing')
      throw new Error(`${event.type} of alarm ${event.data.alarmId} comes before it was raised`);
    switch (event.type) {
      case 'AlarmEscalated':
        return alarm;
      case 'AlarmCleared':
        return { ...alarm, status: 'cleared' };
      case 'AlarmAcknowledged':
        return { ...alarm, isAcknowledged: true };
      case 'AlarmSilenced':
        return { ...alarm, silencedUntil: event.data.until };
    }
  },
};
