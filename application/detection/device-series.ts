import { type Evaluator, evaluatorOf, type Transition } from '../../domain/detection/evaluators.ts';
import type { RuleDefinition, RuleVersion } from '../../domain/detection/rule.ts';
import type { AlarmClearRequest, MetricValue, Reading, SilenceNotice } from '../../domain/telemetry.ts';
import type { AlarmRow, DetectionTotals, DeviceAttributes, SeriesStateRow } from '../ports/detection.ts';
import type { AlarmChanges, Cause } from './alarm-changes.ts';
import { heardOfAfterMilliseconds } from './followed-events.ts';

/** A rule that is enabled. */
type ActiveRule = RuleVersion & { readonly definition: RuleDefinition };

/** One series as one rule sees it. */
type Series = {
  readonly rule: ActiveRule;
  readonly metric: string;
  readonly evaluator: Evaluator;
  /** The newest device time. */
  newest: number;
  alarm: AlarmRow | undefined;
  isChanged: boolean;
  /** Device time, arrival and value of each reading that is not judged yet: objects would outlive a collection. */
  waiting: number[];
  /** The events that these came in. */
  causes: Cause[];
};

/** A rule about a metric, with what it has seen of it. */
type Slot = { readonly rule: ActiveRule; readonly isSilence: boolean; series: Series | undefined };

type Arrival = Cause & { readonly receivedAt: number };

/** What the judgements of a batch add to. */
export type BatchOfJudgements = {
  readonly totals: Counted;
  readonly maxSeries: number;
  readonly changes: AlarmChanges;
};

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
    if (active === this.#active && time < this.#selectedUntil) return none;
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

  /**
   * Has the values of a reading judged, later, by `takeChanged` or whatever else is about their series: those of one
   * series together, whose evaluator is then in the processor's cache. Answers whether anything is to be stored.
   */
  judge(reading: Reading, arrival: Arrival, batch: BatchOfJudgements): boolean {
    let isChanged = false;
    for (const metric in reading.metrics)
      for (const slot of this.#slotsOf(metric))
        if (
          this.#judge(slot, metric, reading.metrics[metric] as MetricValue, reading.timestamp, arrival, batch)
        )
          isChanged = true;
    for (const slot of this.#slotsOf(anyReading))
      if (this.#judge(slot, anyReading, 0, reading.timestamp, arrival, batch)) isChanged = true;
    return isChanged;
  }

  #judge(
    slot: Slot,
    metric: string,
    given: MetricValue,
    timestamp: number,
    arrival: Arrival,
    { totals, maxSeries }: BatchOfJudgements,
  ): boolean {
    const { isSilence, rule } = slot;
    if (typeof given === 'string' && !isSilence) {
      totals.text += 1;
      return false;
    }
    slot.series ??= this.#seriesOf(rule, metric, totals, maxSeries);
    const { series } = slot;
    if (!series) {
      totals.unwatched += 1;
      return false;
    }
    if (!isSilence && timestamp <= series.newest) {
      totals.outOfOrder += 1;
      return false;
    }
    totals.points += 1;
    if (timestamp > series.newest) series.newest = timestamp;
    series.isChanged = true;
    const value = isSilence ? 0 : Number(given);
    series.waiting.push(timestamp, arrival.receivedAt, value);
    series.causes.push(arrival);
    return true;
  }

  /** Nothing happens where something has arrived since. Answers whether anything is to be stored. */
  notice({ ruleId, metric, due }: SilenceNotice, cause: Cause, changes: AlarmChanges): boolean {
    const series = this.#series.get(ruleId)?.get(metric ?? anyReading);
    if (!series) return false;
    this.#judgeWaiting(series, changes);
    const transitions = series.evaluator.silentUntil?.(due) ?? [];
    if (transitions.length === 0) return false;
    series.isChanged = true;
    this.#change(series, transitions, cause, changes);
    return true;
  }

  /** Nothing happens where it is cleared already. Answers whether anything is to be stored. */
  clear(
    { alarmId, ruleId, metric, note }: AlarmClearRequest,
    request: Arrival & { readonly actor: string },
    changes: AlarmChanges,
  ): boolean {
    const series = this.#series.get(ruleId)?.get(metric ?? anyReading);
    if (series) this.#judgeWaiting(series, changes);
    if (series?.alarm?.alarmId !== alarmId) return false;
    const { actor, receivedAt: at } = request;
    const explanation = `${actor} cleared it${note === null ? '' : `: ${note}`}`;
    changes.clear(series.alarm, { at, value: null, magnitude: 0, explanation }, request, actor);
    series.alarm = undefined;
    series.evaluator.clear();
    series.isChanged = true;
    return true;
  }

  #judgeWaiting(series: Series, changes: AlarmChanges): void {
    const { evaluator, waiting, causes } = series;
    if (causes.length === 0) return;
    [series.waiting, series.causes] = [[], []];
    for (let i = 0; i < causes.length; i += 1) {
      const [timestamp, receivedAt] = [waiting[3 * i] as number, waiting[3 * i + 1] as number];
      const transitions = evaluator.next({ timestamp, receivedAt, value: waiting[3 * i + 2] as number });
      if (transitions.length > 0) this.#change(series, transitions, causes[i] as Cause, changes);
    }
  }

  #change(series: Series, transitions: readonly Transition[], arrival: Cause, changes: AlarmChanges): void {
    const { rule, metric } = series;
    for (const transition of transitions) {
      if (transition.change === 'raised')
        series.alarm = changes.raise({ rule, deviceId: this.#deviceId, metric }, transition, arrival);
      else if (series.alarm && transition.change === 'escalated')
        series.alarm = changes.escalate(series.alarm, transition, arrival);
      else if (series.alarm) {
        changes.clear(series.alarm, transition, arrival);
        series.alarm = undefined;
      }
    }
  }

  /** The rule was changed, disabled or removed. */
  forget(ruleId: string): void {
    // The rules that the other rows belong to are not known before the first reading.
    this.#stored = this.#stored.filter((row) => row.ruleId !== ruleId);
    this.#series.delete(ruleId);
    this.#slots = new Map();
  }

  /** The rows of the series that changed since the last call. */
  takeChanged(partition: number, changes: AlarmChanges): readonly SeriesStateRow[] {
    const rows: SeriesStateRow[] = [];
    for (const byMetric of this.#series.values())
      for (const series of byMetric.values()) {
        if (!series.isChanged) continue;
        series.isChanged = false;
        this.#judgeWaiting(series, changes);
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
        return { rule, isSilence, series: this.#series.get(rule.ruleId)?.get(metric) };
      });
    this.#slots.set(metric, found);
    return found;
  }

  #seriesOf(rule: ActiveRule, metric: string, totals: Counted, maxSeries: number): Series | undefined {
    if (totals.series >= maxSeries) return undefined;
    totals.series += 1;
    return this.#add(rule, metric, undefined, evaluatorOf(rule.definition.condition));
  }

  #add(
    rule: ActiveRule,
    metric: string,
    alarm: AlarmRow | undefined,
    evaluator: Evaluator,
    newest = Number.NEGATIVE_INFINITY,
  ): Series {
    const series: Series = {
      rule,
      metric,
      evaluator,
      newest,
      alarm,
      isChanged: false,
      waiting: [],
      causes: [],
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
        this.#judgeWaiting(series, changes);
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

type Counted = { -readonly [Name in keyof DetectionTotals]: DetectionTotals[Name] };

const none: readonly SeriesKey[] = [];

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
