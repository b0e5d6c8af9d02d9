import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';
import type { Disk, WriteAheadLog } from '../../application/ports/storage.ts';

export type Dependency = { readonly name: string; check(): Promise<void> };

export type Connections = { readonly used: number; readonly free: number; readonly waiting: number };

/** Registers which of the dependencies can be used; checked at each scrape. */
export function measureDependencies(registry: Registry, dependencies: readonly Dependency[]): void {
  new Gauge({
    name: 'fieldlog_dependency_up',
    help: 'Whether a store, log or database can be used (1) or not (0)',
    labelNames: ['dependency'],
    registers: [registry],
    async collect() {
      await Promise.all(
        dependencies.map(async ({ name, check }) => {
          const up = await withinScrape(check().then(() => 1));
          this.set({ dependency: name }, up ?? 0);
        }),
      );
    },
  });
}

/** Registers how this process uses its connections; `pools` by the name of their database. */
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

/** Memory, CPU, event-loop delay, garbage collection and handles of this process. */
export function measureProcess(registry: Registry): void {
  // The delay is sampled by a timer: at the default of 10 ms an idle process spends half a per cent of a core on it.
  // The reported delay includes this interval, which its alert subtracts.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
}

/** Registers whether the projectors' thread answers: its own metrics are missing when it does not. */
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

/** A scrape asks in two steps at most; exceeding the scrape timeout would lose all of it. */
const patience = 2000;

/**
 * A result needed during a scrape, `undefined` when it does not come in time. A metric that
 * cannot be measured then has no value, the others are unaffected; `fieldlog_dependency_up` says why.
 */
export async function withinScrape<T>(asked: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), patience);
  try {
    return await Promise.race([asked.catch(() => undefined), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** How much room is left for the embedded files, and how much is to stay. */
export function measureDisk(registry: Registry, disk: Disk): void {
  new Gauge({
    name: 'fieldlog_disk_free_bytes',
    help: 'Bytes free on the disk of the data folder',
    registers: [registry],
    collect() {
      this.set(disk.room().free);
    },
  });
  new Gauge({
    name: 'fieldlog_disk_reserve_bytes',
    help: 'Bytes of the disk of the data folder that are to stay free (DISK_RESERVE)',
    registers: [registry],
    collect() {
      this.set(disk.room().reserve);
    },
  });
}

/** How long the log is that writes of the embedded read models go to first. */
export function measureWriteAheadLog(registry: Registry, log: WriteAheadLog): void {
  new Gauge({
    name: 'fieldlog_read_models_wal_bytes',
    help: 'Bytes of the write-ahead log of the embedded read models: far above 64 MiB, a transaction that reads holds it',
    registers: [registry],
    collect() {
      this.set(log.state().bytes);
    },
  });
}
