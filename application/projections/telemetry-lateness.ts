import type { DeviceRetention } from '../../domain/retention.ts';
import type { Metrics, Reading } from '../../domain/telemetry.ts';

/**
 * What is kept of a reading that came at `receivedAt`; `undefined` when nothing is. It is a matter of the reading and
 * of the policy alone: whether the points of its time have been removed by now is not asked, so that every run over
 * the log, however late, finds the same.
 */
export function keptOf(
  reading: Reading,
  receivedAt: number,
  kept: DeviceRetention | undefined,
): Reading | undefined {
  const { deviceId, timestamp, metrics } = reading;
  if (!kept || timestamp >= kept.newest('points', receivedAt)) return reading;
  const names = Object.keys(metrics);
  const inTime = names.filter((name) => timestamp >= kept.horizon('points', name, receivedAt));
  if (inTime.length === names.length) return reading;
  if (inTime.length === 0) return undefined;
  const left: Metrics = Object.fromEntries(inTime.map((name) => [name, metrics[name] as Metrics[string]]));
  return { deviceId, timestamp, metrics: left };
}
