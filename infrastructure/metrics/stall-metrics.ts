import { Gauge, type Registry } from 'prom-client';

/** Tells which projections stand still here; `stalls` gives what stands still of each, `null` for nothing. */
export function measureStalls(registry: Registry, stalls: () => ReadonlyMap<string, string | null>): void {
  new Gauge({
    name: 'fieldlog_projection_stalled',
    help: 'Whether a projection of this process stands still although it should move (1) or not (0)',
    labelNames: ['projection'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [projection, stall] of stalls()) this.set({ projection }, stall === null ? 0 : 1);
    },
  });
}
