import { Gauge, type Registry } from 'prom-client';

/** Tells whether the thread of the projectors answers, for its own metrics are missing when it does not. */
export function measureThread(registry: Registry, answers: () => Promise<boolean>): void {
  new Gauge({
    name: 'fieldlog_projector_thread_up',
    help: 'Whether the thread of the projectors answered when it was asked for its metrics (1) or not (0)',
    registers: [registry],
    async collect() {
      this.set((await answers()) ? 1 : 0);
    },
  });
}
