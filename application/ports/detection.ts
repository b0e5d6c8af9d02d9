import type { AlarmChange, AlarmFacts } from '../../domain/detection/alarm.ts';
import type { Severity } from '../../domain/detection/rule.ts';
import type { Labels } from '../../domain/device.ts';
import type { DeviceBounds } from '../device-bounds.ts';
import type { Position } from './event-source.ts';

/** What a rule remembers of one series. `metric` is `''` for a rule about any reading of the device. */
export type SeriesStateRow = {
  readonly deviceId: string;
  readonly ruleId: string;
  readonly metric: string;
  readonly partition: number;
  /** Of the rule. */
  readonly revision: number;
  /** The newest device time of the series and then the evaluator's state, as doubles. */
  readonly state: ArrayLike<number>;
  /** The alarm that is open; `null` when none is. */
  readonly alarmId: string | null;
  /** When silence becomes an alarm, epoch milliseconds; `null` for other rules. */
  readonly due: number | null;
};

export type AlarmRow = AlarmFacts & {
  readonly partition: number;
  readonly state: 'open' | 'cleared';
  /** Epoch milliseconds. */
  readonly raisedAt: number;
  /** Of the event of the log that raised it: a reading, or the notice of a silence. */
  readonly position: Position;
  readonly correlationId: string;
  readonly value: number | null;
  /** The greatest so far. */
  readonly magnitude: number;
  readonly explanation: string;
  readonly escalations: number;
  readonly clearedAt: number | null;
  /** Why it was cleared. */
  readonly clearedBy: string | null;
  /** Ids of the webhooks that are notified. */
  readonly notify: readonly string[];
};

/** What detection has done in a partition. */
export type DetectionTotals = {
  readonly partition: number;
  /** Values judged. */
  readonly points: number;
  /** Values not judged because their series already has one of that device time or a later one. */
  readonly outOfOrder: number;
  /** Values not judged because the partition has as many series as may be watched. */
  readonly unwatched: number;
  /** Values that are text, which no rule judges. */
  readonly text: number;
  /** Series watched now. */
  readonly series: number;
  /** The latest arrival, epoch milliseconds: rules are those of this moment. */
  readonly newest: number;
};

/** A change of an alarm that others are to hear of. */
export type Announcement = AlarmFacts &
  AlarmChange & {
    readonly change: 'raised' | 'escalated' | 'cleared';
    readonly correlationId: string;
    readonly notify: readonly string[];
    /** The person who did it; absent where a rule did. */
    readonly actor?: string;
  };

/** A change of an alarm that a hook is to be sent. */
export type NewDelivery = {
  readonly hookId: string;
  readonly alarmId: string;
  /** Of the event of the alarm. The same at each try. */
  readonly eventId: string;
  readonly announcement: Announcement;
};

/**
 * Alarms that were too old to be sent each by itself, as one hook is told of them. Times are those of the devices, epoch
 * milliseconds.
 */
export type AlarmSummary = {
  readonly change: 'summarized';
  /** Of the first and the last change. */
  readonly from: number;
  readonly to: number;
  /** When the first of the alarms was raised, which may be before `from`. */
  readonly raisedSince: number;
  /** In order of their first change. */
  readonly rules: readonly {
    readonly ruleId: string;
    readonly ruleName: string;
    readonly severity: Severity;
    readonly raised: number;
    readonly escalated: number;
    readonly cleared: number;
  }[];
};

/** A change of an alarm that hooks are told of in a summary. */
export type SummarizedChange = {
  readonly hookIds: readonly string[];
  /** Of the event of the alarm. */
  readonly eventId: string;
  /** When its alarm was raised, by the time of the device, epoch milliseconds. */
  readonly raisedAt: number;
  readonly announcement: Announcement;
};

type DetectionChanges = {
  readonly states: readonly SeriesStateRow[];
  /** Removed before anything is written. */
  readonly dropped: readonly Pick<SeriesStateRow, 'deviceId' | 'ruleId' | 'metric'>[];
  readonly alarms: readonly AlarmRow[];
  readonly totals: DetectionTotals;
  /** Only of the live generation: rebuilds announce nothing. */
  readonly announcements: readonly Announcement[];
};

/** The write side of detection, inside the projector's transaction. */
export interface DetectionTables {
  states(deviceIds: readonly string[]): Promise<readonly SeriesStateRow[]>;
  totals(partition: number): Promise<DetectionTotals | undefined>;
  alarms(alarmIds: readonly string[]): Promise<readonly AlarmRow[]>;
  /** The alarms of a rule that are open in a partition, in order of their id. */
  openAlarms(ruleId: string, partition: number): Promise<readonly AlarmRow[]>;
  /** Removes what a rule remembers of the series of a partition; answers how many there were. */
  forget(ruleId: string, partition: number): Promise<number>;
  write(changes: DetectionChanges): Promise<void>;
}

/** `acknowledged`: open, and acknowledged. */
type AlarmState = 'open' | 'acknowledged' | 'cleared';

export type AlarmFilter = {
  readonly state?: AlarmState;
  readonly deviceId?: string;
  readonly ruleId?: string;
  /** Raised from then on, epoch milliseconds. */
  readonly since?: number;
  /** What the caller may see at all, whatever else is asked for. */
  readonly within?: DeviceBounds;
};

/** Who has seen an alarm; `at` is epoch milliseconds. */
type Acknowledgement = { readonly at: number; readonly by: string; readonly note: string | null };

/** Until when hooks are sent nothing new of a rule, a device and a metric, and who wanted it; epoch milliseconds. */
export type Silencing = { readonly until: number; readonly by: string; readonly note: string | null };

export type AlarmView = AlarmRow & {
  readonly acknowledgement: Acknowledgement | null;
  /** The last one of its rule, device and metric, also when it has ended. */
  readonly silencing: Silencing | null;
};

export type AlarmKey = Pick<AlarmRow, 'raisedAt' | 'alarmId'>;

/** What people ask of alarms. Every call throws `ReadModelsUnavailable`. */
export interface AlarmQueries {
  /** The newest first, those after `after`. */
  list(
    filter: AlarmFilter,
    page: { readonly limit: number; readonly after?: AlarmKey },
  ): Promise<readonly AlarmView[]>;
  find(alarmId: string): Promise<AlarmView | undefined>;
  /** How many are open, by severity. */
  openCounts(): Promise<readonly { readonly severity: string; readonly count: number }[]>;
  /** Over all partitions. */
  totals(): Promise<Omit<DetectionTotals, 'partition' | 'newest'>>;
}

/** A series of which nothing has arrived, with the time by which something should have. */
export type OverdueSeries = Pick<SeriesStateRow, 'deviceId' | 'metric'> & { readonly due: number };

/** An announcement that the event store has, and what is to be sent of it. */
export type AnnouncedChange = {
  readonly seq: number;
  readonly deliveries: readonly NewDelivery[];
  readonly summarized?: SummarizedChange;
};

/** What is on record of alarms besides what follows from the telemetry log. */
export interface AlarmRecords {
  /** Changes nothing when it was acknowledged before. */
  acknowledge(alarmId: string, acknowledgement: Acknowledgement): Promise<void>;
  /** In place of an earlier one. What is held back already is sent when the new one ends. */
  silence(
    alarm: Pick<AlarmRow, 'ruleId' | 'deviceId' | 'metric'>,
    silencing: Silencing,
    now: number,
  ): Promise<void>;
  /** Series of a rule about silence, of the active generation, that are due by `time` and have no alarm open. */
  overdue(ruleId: string, time: number, limit: number): Promise<readonly OverdueSeries[]>;
  /** The oldest announcements that nobody has heard yet. */
  announcements(
    limit: number,
  ): Promise<readonly { readonly seq: number; readonly announcement: Announcement }[]>;
  /**
   * The event store has these. Their deliveries to hooks, due at `now` or when the silence of their rule, device and
   * metric ends, are put down with that, by whoever notes it first. What is raised and cleared in silence is not sent.
   * What is to be summarized is counted with that too; the summary is due a minute after the last change that it counts,
   * and ten minutes after the first at the latest.
   */
  announced(done: readonly AnnouncedChange[], now: number): Promise<void>;
}

/** What a device was from when on, oldest first; the first period counts from the beginning. */
export type DeviceAttributes = readonly {
  /** Epoch milliseconds. */
  readonly since: number;
  readonly type: string;
  readonly labels: Labels;
  /** It may send: it is neither suspended nor decommissioned. */
  readonly isActive: boolean;
}[];
