import { type Evaluator, evaluatorOf } from '../../domain/detection/evaluators.ts';
import type { RuleDefinition, RuleVersion } from '../../domain/detection/rule.ts';
import type { AlarmClearRequest, MetricValue, Reading, SilenceNotice } from '../../domain/telemetry.ts';
import type { AlarmRow, DeviceAttributes, SeriesStateRow } from '../ports/detection.ts';
import type { AlarmChanges, Cause } from './alarm-changes.ts';
import { heardOfAfterMilliseconds } from './followed-events.ts';
import {
  type ActiveRule,
  type ArrivalCause,
  type BatchOfJudgements,
  changeAlarm,
  judgeValue,
  type Newcomer,
  type Series,
  type Slot,
} from './judging.ts';

/** The key of a series under a rule. */
export type SeriesKey = Pick<SeriesStateRow, 'deviceId' | 'ruleId' | 'metric'>;

/** The metric of a rule about any reading of a device. */
const anyReading = '';

/** The series of one device with the rules that judge them. */
export class DeviceSeries {
  readonly #deviceId: string;
  readonly #series = new Map<string, Map<string, Series>>();
  #stored: readonly SeriesStateRow[];
  readonly #alarms: ReadonlyMap<string, AlarmRow>;
  #attributes: DeviceAttributes;
  #active: readonly RuleVersion[] | undefined;
  #selectedUntil = Number.NEGATIVE_INFINITY;
  #rules: readonly ActiveRule[] = [];
  #slots = new Map<string, readonly Slot[]>();
  /** Not judged yet, and what the log says of each. */
  #readings: Reading[] = [];
  #arrivals: ArrivalCause[] = [];
  #isLoaded = false;

  constructor(
    deviceId: string,
    attributes: DeviceAttributes,
    stored: readonly SeriesStateRow[],
    alarms: ReadonlyMap<string, AlarmRow>,
  ) {
    this.#deviceId = deviceId;
    this.#attributes = attributes;
    this.#stored = stored;
    this.#alarms = alarms;
  }

  set attributes(attributes: DeviceAttributes) {
    if (attributes === this.#attributes) return;
    this.#attributes = attributes;
    this.#selectedUntil = Number.NEGATIVE_INFINITY;
  }

  /** Whether the rules for readings that arrive at `time` have been picked. */
  isSelected(active: readonly RuleVersion[], time: number): boolean {
    return active === this.#active && time < this.#selectedUntil;
  }

  /**
   * Picks the rules for readings that arrive at `time`. Answers the series that a rule no longer selects, which are
   * forgotten and whose alarms are cleared.
   */
  select(
    active: readonly RuleVersion[],
    time: number,
    cause: Cause,
    changes: AlarmChanges,
  ): readonly SeriesKey[] {
    const at = time - heardOfAfterMilliseconds;
    const [first] = this.#attributes;
    // What came before a device was registered is of none, also to a rebuild, which knows that it will be.
    const isThere = first !== undefined && first.since <= time;
    const period = isThere ? (this.#attributes.findLast(({ since }) => since <= at) ?? first) : undefined;
    const next = this.#attributes.find(({ since }) => since > at);
    const nextAt = next ? next.since + heardOfAfterMilliseconds : Number.POSITIVE_INFINITY;
    this.#active = active;
    this.#selectedUntil = isThere ? nextAt : (first?.since ?? nextAt);
    this.#rules = active.filter(
      (rule): rule is ActiveRule =>
        rule.definition !== null && period !== undefined && selects(rule.definition, this.#deviceId, period),
    );
    this.#slots = new Map();
    this.#load();
    return this.#dropUnselected(time, cause, changes);
  }

  /** Has a reading judged by `judgeTogether`. Answers how many wait for it. */
  judgeLater(arrival: ArrivalCause, reading: Reading): number {
    this.#arrivals.push(arrival);
    return this.#readings.push(reading);
  }

  /** Judges what waits for it; series that are not watched yet are added to `newcomers`. */
  judgeWaiting(batch: BatchOfJudgements, newcomers: Newcomer[]): void {
    const [readings, arrivals] = [this.#readings, this.#arrivals];
    [this.#readings, this.#arrivals] = [[], []];
    const ofAny = this.#slotsOf(anyReading);
    for (let i = 0; i < readings.length; i += 1) {
      const [reading, arrival] = [readings[i] as Reading, arrivals[i] as ArrivalCause];
      const { metrics } = reading;
      for (const metric in metrics)
        for (const slot of this.#slotsOf(metric)) {
          const value = metrics[metric] as MetricValue;
          if (slot.isSilence) this.#judge(slot, 0, reading, arrival, batch, newcomers);
          else if (typeof value === 'string') batch.totals.text += 1;
          else this.#judge(slot, Number(value), reading, arrival, batch, newcomers);
        }
      for (const slot of ofAny) this.#judge(slot, 0, reading, arrival, batch, newcomers);
    }
  }

  #judge(
    slot: Slot,
    value: number,
    reading: Reading,
    arrival: ArrivalCause,
    batch: BatchOfJudgements,
    newcomers: Newcomer[],
  ): void {
    if (slot.series) {
      judgeValue(slot.series, value, reading, arrival, batch);
      return;
    }
    if (!slot.newcomer) {
      slot.newcomer = { admit: this.#admit, slot, values: [], readings: [], arrivals: [] };
      newcomers.push(slot.newcomer);
    }
    slot.newcomer.values.push(value);
    slot.newcomer.readings.push(reading);
    slot.newcomer.arrivals.push(arrival);
  }

  /** Begins to watch a series, if there is room for it. */
  readonly #admit = ({ slot, values, readings, arrivals }: Newcomer, batch: BatchOfJudgements): void => {
    slot.newcomer = undefined;
    const { totals, maxSeries } = batch;
    if (totals.series >= maxSeries) {
      totals.unwatched += values.length;
      return;
    }
    totals.series += 1;
    const { rule, metric } = slot;
    const series = this.#add(rule, metric, undefined, evaluatorOf(rule.definition.condition));
    slot.series = series;
    for (let i = 0; i < values.length; i += 1)
      judgeValue(series, values[i] as number, readings[i] as Reading, arrivals[i] as ArrivalCause, batch);
  };

  /** Nothing happens where something has arrived since. */
  notice({ ruleId, metric, due }: SilenceNotice, cause: Cause, changes: AlarmChanges): void {
    const series = this.#series.get(ruleId)?.get(metric ?? anyReading);
    const transitions = series?.evaluator.silentUntil?.(due) ?? [];
    if (!series || transitions.length === 0) return;
    series.isChanged = true;
    changeAlarm(series, transitions, cause, changes);
  }

  /** Nothing happens where it is cleared already. */
  clear(
    { alarmId, ruleId, metric, note }: AlarmClearRequest,
    request: ArrivalCause & { readonly actor: string },
    changes: AlarmChanges,
  ): void {
    const series = this.#series.get(ruleId)?.get(metric ?? anyReading);
    if (series?.alarm?.alarmId !== alarmId) return;
    const { actor, receivedAt: at } = request;
    const explanation = `${actor} cleared it${note === null ? '' : `: ${note}`}`;
    changes.clear(series.alarm, { at, value: null, magnitude: 0, explanation }, request, actor);
    series.alarm = undefined;
    series.evaluator.clear();
    series.isChanged = true;
  }

  /** The rule was changed, disabled or removed. */
  forget(ruleId: string): void {
    // The rules that the other rows belong to are not known before the first reading.
    this.#stored = this.#stored.filter((row) => row.ruleId !== ruleId);
    this.#series.delete(ruleId);
    this.#slots = new Map();
  }

  /** The rows of the series that changed since the last call. */
  takeChanged(partition: number): readonly SeriesStateRow[] {
    const rows: SeriesStateRow[] = [];
    for (const byMetric of this.#series.values())
      for (const series of byMetric.values()) {
        if (!series.isChanged) continue;
        series.isChanged = false;
        rows.push(this.#rowOf(series, partition));
      }
    return rows;
  }

  #rowOf({ rule, metric, evaluator, newest, alarm }: Series, partition: number): SeriesStateRow {
    const { condition } = rule.definition;
    const saved = evaluator.save();
    const lastArrival = saved[0];
    return {
      deviceId: this.#deviceId,
      ruleId: rule.ruleId,
      metric,
      partition,
      revision: rule.revision,
      state: withFirst(newest, saved),
      alarmId: alarm?.alarmId ?? null,
      due: condition.kind === 'silent' && lastArrival !== undefined ? lastArrival + condition.for : null,
    };
  }

  /** The rules about a metric that select the device, each with its series once there is one. */
  #slotsOf(metric: string): readonly Slot[] {
    const known = this.#slots.get(metric);
    if (known) return known;
    const found = this.#rules
      .filter(({ definition }) =>
        definition.metric === undefined
          ? (definition.condition.kind === 'silent') === (metric === anyReading)
          : definition.metric === metric,
      )
      .map((rule): Slot => {
        const isSilence = rule.definition.condition.kind === 'silent';
        const series = this.#series.get(rule.ruleId)?.get(metric);
        return { rule, isSilence, metric, series, newcomer: undefined };
      });
    this.#slots.set(metric, found);
    return found;
  }

  #add(
    rule: ActiveRule,
    metric: string,
    alarm: AlarmRow | undefined,
    evaluator: Evaluator,
    newest = Number.NEGATIVE_INFINITY,
  ): Series {
    const series: Series = {
      deviceId: this.#deviceId,
      rule,
      isSilence: rule.definition.condition.kind === 'silent',
      metric,
      evaluator,
      newest,
      alarm,
      isChanged: false,
    };
    const byMetric = this.#series.get(rule.ruleId) ?? new Map<string, Series>();
    this.#series.set(rule.ruleId, byMetric);
    byMetric.set(metric, series);
    return series;
  }

  /** Makes series of what was stored, once the rules are known that they belong to. */
  #load(): void {
    if (this.#isLoaded) return;
    this.#isLoaded = true;
    for (const { ruleId, metric, state, alarmId } of this.#stored) {
      const rule = this.#active?.find((one): one is ActiveRule => one.ruleId === ruleId);
      if (!rule) continue;
      const alarm = alarmId === null ? undefined : this.#alarms.get(alarmId);
      const evaluator = evaluatorOf(rule.definition.condition, Array.prototype.slice.call(state, 1));
      this.#add(rule, metric, alarm, evaluator, state[0]);
    }
  }

  #dropUnselected(time: number, cause: Cause, changes: AlarmChanges): readonly SeriesKey[] {
    const dropped: SeriesKey[] = [];
    for (const [ruleId, byMetric] of this.#series) {
      if (this.#rules.some((rule) => rule.ruleId === ruleId)) continue;
      for (const series of byMetric.values()) {
        const { metric, alarm } = series;
        dropped.push({ deviceId: this.#deviceId, ruleId, metric });
        if (alarm) changes.clear(alarm, { ...noLongerSelected, at: time }, cause);
      }
      this.#series.delete(ruleId);
    }
    return dropped;
  }
}

function withFirst(first: number, others: ArrayLike<number>): Float64Array {
  const all = new Float64Array(others.length + 1);
  all[0] = first;
  all.set(others, 1);
  return all;
}

const noLongerSelected = {
  value: null,
  magnitude: 0,
  explanation: 'The rule no longer selects the device',
};

/** Of a device that may not send, nothing is expected. */
const selects = (
  { selector: { deviceId, type, labels }, condition }: RuleDefinition,
  id: string,
  device: DeviceAttributes[number],
): boolean =>
  (condition.kind !== 'silent' || device.isActive) &&
  (deviceId === undefined || deviceId === id) &&
  (type === undefined || type === device.type) &&
  (labels === undefined ||
    Object.entries(labels).every(
      ([name, value]) => Object.hasOwn(device.labels, name) && device.labels[name] === value,
    ));
