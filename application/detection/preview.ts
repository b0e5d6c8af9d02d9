import { type Evaluator, evaluatorOf, type Transition } from '../../domain/detection/evaluators.ts';
import type { RuleDefinition } from '../../domain/detection/rule.ts';
import type { DeviceFilter, Point, TelemetryQueries, TelemetryScope, TimeRange } from '../ports/queries.ts';

export type PreviewServices = { readonly telemetry: Pick<TelemetryQueries, 'points'> };

/** A change of an alarm that would have been. `metric` is `null` for any reading of the device. */
export type PreviewedChange = Transition & { readonly deviceId: string; readonly metric: string | null };

type Preview = {
  /** Values judged, and devices that have any. */
  readonly points: number;
  readonly devices: number;
  readonly raised: number;
  /** By device, then in order of time; the first thousand. */
  readonly changes: readonly PreviewedChange[];
  /** There were more changes. */
  readonly isCut: boolean;
};

export class PreviewTooLarge extends Error {
  override readonly name = 'PreviewTooLarge';
  readonly limit: number;

  constructor(limit: number) {
    super(
      `There are more than ${limit} values in that time: choose fewer devices, a metric or a shorter time`,
    );
    this.limit = limit;
  }
}

const mostPoints = 1_000_000;
const mostChanges = 1000;

/**
 * What a rule would have found in the readings that are stored, in order of the device's time, which also stands for
 * the time of arrival. Throws `PreviewTooLarge`, `ReadModelsUnavailable`.
 */
export async function previewRule(
  rule: RuleDefinition,
  range: TimeRange,
  { telemetry }: PreviewServices,
  signal: AbortSignal,
  now: number,
): Promise<Preview> {
  const isSilence = rule.condition.kind === 'silent';
  const until = Math.min(range.to, now);
  const changes: PreviewedChange[] = [];
  let [points, devices, raised, found] = [0, 0, 0, 0];
  let deviceId: string | undefined;
  let series = new Map<string, { readonly evaluator: Evaluator; newest: number }>();
  const judge = ({ timestamp, value }: Pick<Point, 'timestamp' | 'value'>, name: string) => {
    if (typeof value === 'string' && !isSilence) return;
    const one = series.get(name) ?? {
      evaluator: evaluatorOf(rule.condition),
      newest: Number.NEGATIVE_INFINITY,
    };
    series.set(name, one);
    // Several metrics of one reading are one arrival.
    if (timestamp <= one.newest) return;
    one.newest = timestamp;
    points += 1;
    const judged = isSilence ? 0 : Number(value);
    // What comes at the last moment is not missing.
    report(one.evaluator.silentUntil?.(timestamp - 1) ?? [], name);
    report(one.evaluator.next({ timestamp, receivedAt: timestamp, value: judged }), name);
  };
  const report = (transitions: readonly Transition[], name: string) => {
    for (const transition of transitions) {
      if (transition.change === 'raised') raised += 1;
      found += 1;
      if (changes.length < mostChanges)
        changes.push({ ...transition, deviceId: deviceId ?? '', metric: name === '' ? null : name });
    }
  };
  /** Of the device whose readings are over, which may have fallen silent for good. */
  const end = () => {
    for (const [name, { evaluator }] of series) report(evaluator.silentUntil?.(until) ?? [], name);
  };
  const query = {
    scope: scopeOf(rule),
    ...(rule.metric !== undefined && { metrics: [rule.metric] }),
    range,
    order: 'asc' as const,
    limit: Number.POSITIVE_INFINITY,
  };
  for await (const chunk of telemetry.points(query)) {
    signal.throwIfAborted();
    for (const point of chunk) {
      if (point.deviceId !== deviceId) {
        end();
        deviceId = point.deviceId;
        devices += 1;
        series = new Map();
      }
      judge(point, isSilence && rule.metric === undefined ? '' : point.metric);
      if (points > mostPoints) throw new PreviewTooLarge(mostPoints);
    }
  }
  end();
  return { points, devices, raised, changes, isCut: found > changes.length };
}

function scopeOf({ selector: { deviceId, type, labels = {} } }: RuleDefinition): TelemetryScope {
  if (deviceId !== undefined) return { deviceId };
  const filter: DeviceFilter = {
    ...(type !== undefined && { type }),
    ...(Object.keys(labels).length > 0 && {
      labels: Object.entries(labels).map(([key, value]) => ({ key, value })),
    }),
  };
  return { devices: filter };
}
