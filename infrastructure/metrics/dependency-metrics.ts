import { Gauge, type Registry } from 'prom-client';
import { answered } from './answered.ts';

export type Dependency = { readonly name: string; check(): Promise<void> };

export type Connections = { readonly used: number; readonly free: number; readonly waiting: number };

/** Tells, whenever the metrics are read, which of the dependencies can be used. */
export function measureDependencies(registry: Registry, dependencies: readonly Dependency[]): void {
  new Gauge({
    name: 'fieldlog_dependency_up',
    help: 'Whether a store, log or database can be used (1) or not (0)',
    labelNames: ['dependency'],
    registers: [registry],
    async collect() {
      await Promise.all(
        dependencies.map(async ({ name, check }) => {
          const up = await answered(check().then(() => 1));
          this.set({ dependency: name }, up ?? 0);
        }),
      );
    },
  });
}

/** Tells how this process uses its connections; `pools` by the name of their database. */
export function measureConnections(
  registry: Registry,
  pools: readonly { readonly name: string; connections(): Connections }[],
): void {
  new Gauge({
    name: 'fieldlog_database_connections',
    help: 'Connections this process may have to a database, by whether they are in use',
    labelNames: ['database', 'state'],
    registers: [registry],
    collect() {
      for (const { name, connections } of pools) {
        const { used, free } = connections();
        this.set({ database: name, state: 'used' }, used);
        this.set({ database: name, state: 'free' }, free);
      }
    },
  });
  new Gauge({
    name: 'fieldlog_database_waiting',
    help: 'Callers waiting for a connection to a database',
    labelNames: ['database'],
    registers: [registry],
    collect() {
      for (const { name, connections } of pools) this.set({ database: name }, connections().waiting);
    },
  });
}
