import { type RetentionStatus, retentionStatus } from '../../application/operations/status.ts';
import type { Log } from '../../application/ports/system.ts';
import { currentRetention } from '../../application/retention/policy.ts';
import { retentionPreview } from '../../application/retention/sweep.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { openContainer } from './container.ts';
import { keeperOf, sweepPorts } from './retention.ts';
import { services as s } from './services.ts';

/** What operators do with retention, on the configured stores. */
export type RetentionDesk = {
  status(): Promise<RetentionStatus>;
  /** Of the configured policy, as if it were in force. */
  preview(signal: AbortSignal): Promise<RetentionStatus['removed']>;
  /** Of the policy in force; resolves when nothing is left to remove. */
  sweep(signal: AbortSignal): Promise<RetentionStatus>;
  close(): Promise<void>;
};

export async function openRetention(config: Config, log: Log): Promise<RetentionDesk> {
  const container = await openContainer(config, log);
  const ports = await sweepPorts(container);
  const { records } = ports;
  const status = () => retentionStatus(records);
  return {
    status,
    async preview(signal) {
      const clock = await container.getAsync(s.clock);
      const control = await container.getAsync(s.control);
      const schedule = await records.schedule();
      // A policy that was announced a moment ago may not be in force yet.
      const at = Math.max(clock.now(), (schedule.at(-1)?.since ?? 0) + 1);
      const configured = [...schedule, { since: at, policy: config.RETENTION }];
      const wanted = currentRetention({ schedule: async () => configured }, clock);
      await wanted.refresh();
      const active =
        (await control.states()).find(({ projection }) => projection === 'telemetry')?.active ?? 1;
      const of = { projection: 'telemetry', generation: active };
      const removed = await retentionPreview(of, wanted, ports, at, signal);
      const { points, '1m': minutes, '1h': hours, '1d': days, trimmed } = removed;
      return { points, minutes, hours, days, trimmed };
    },
    async sweep(signal) {
      await (await keeperOf(container, 'retention sweep')).once(signal);
      return status();
    },
    close: () => container.unbindAllAsync(),
  };
}
