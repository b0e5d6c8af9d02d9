import { Gauge, type Registry } from 'prom-client';
import type { BuildProgress, ProjectionControl } from '../../application/ports/generations.ts';
import { answered } from './answered.ts';

const measures = {
  done: ['fieldlog_rebuild_events_done', 'Events that the build under way has consumed'],
  total: ['fieldlog_rebuild_events', 'Events that the build under way has to consume'],
  rate: ['fieldlog_rebuild_events_per_second', 'Events that the build under way consumes a second'],
} as const satisfies Partial<Record<keyof BuildProgress, readonly [string, string]>>;

/** Tells, whenever the metrics are read, how far builds have come, whichever process does them. */
export function measureRebuilds(registry: Registry, control: ProjectionControl): void {
  for (const [measure, [name, help]] of Object.entries(measures) as [
    keyof typeof measures,
    [string, string],
  ][])
    new Gauge({
      name,
      help,
      labelNames: ['projection', 'generation', 'phase'],
      registers: [registry],
      async collect() {
        this.reset();
        const states = (await answered(control.states())) ?? [];
        for (const { projection, generation, runner, progress } of states.flatMap((one) => one.generations))
          if (runner !== null && progress)
            this.set({ projection, generation, phase: progress.phase }, progress[measure]);
      },
    });
}
