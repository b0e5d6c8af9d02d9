import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { BuildProgress, ProjectionControl } from '../../application/ports/generations.ts';
import type { ProjectorObserver } from '../../application/projector.ts';
import { withinScrape } from './process-metrics.ts';

/** When the API took an event, epoch milliseconds; `undefined` when the event does not say. */
export type TakenAt<Event> = (event: Event) => number | undefined;

/** Seconds; longer ones share the last bucket. */
const longestDelay = 60;

/** Counts what the projectors of this process do. One per registry. */
export class ProjectorMetrics {
  readonly #events: Counter<'projection'>;
  readonly #batches: Counter<'projection'>;
  readonly #errors: Counter<'projection'>;
  readonly #parked: Counter<'projection' | 'cause'>;
  readonly #seconds: Histogram<'projection'>;
  readonly #delay: Histogram<'projection'>;
  readonly #progress: Gauge<'projection'>;

  constructor(registry: Registry) {
    const registers = [registry];
    const labelNames = ['projection'] as const;
    this.#events = new Counter({
      name: 'fieldlog_projection_events_total',
      help: 'Events consumed, those parked included',
      labelNames,
      registers,
    });
    this.#batches = new Counter({
      name: 'fieldlog_projection_batches_total',
      help: 'Transactions committed',
      labelNames,
      registers,
    });
    this.#errors = new Counter({
      name: 'fieldlog_projection_errors_total',
      help: 'Batches that failed and were tried again',
      labelNames,
      registers,
    });
    this.#parked = new Counter({
      name: 'fieldlog_projection_dead_letters_total',
      help: 'Events parked',
      labelNames: ['projection', 'cause'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'fieldlog_projection_batch_seconds',
      help: 'Time a batch took, from its arrival to its commit',
      labelNames,
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    });
    this.#delay = new Histogram({
      name: 'fieldlog_ingestion_to_storage_seconds',
      help: 'Time from the request that brought events to the commit of their rows, once for all that came together; once a batch where all of it is older than a minute',
      labelNames,
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, longestDelay],
      registers,
    });
    this.#progress = new Gauge({
      name: 'fieldlog_projection_last_progress_timestamp_seconds',
      help: 'When a batch was last committed, Unix time',
      labelNames,
      registers,
    });
  }

  /** A checkpoint was moved over events that nobody has to read: that is progress too. */
  passedOver(projection: string): void {
    this.#batches.inc({ projection });
    this.#progress.set({ projection }, Date.now() / 1000);
  }

  observer<Event>(projection: string, takenAt: TakenAt<Event>): ProjectorObserver<Event> {
    // Looked up once, because it is observed for every request.
    const delay = this.#delay.labels({ projection });
    return {
      consumed: (events, parked, seconds) => {
        const now = Date.now();
        this.#batches.inc({ projection });
        this.#events.inc({ projection }, events.length);
        this.#seconds.observe({ projection }, seconds);
        this.#progress.set({ projection }, now / 1000);
        for (const deadLetter of parked) this.#parked.inc({ projection, cause: deadLetter.cause });
        for (const taken of momentsOf(events, takenAt, now - longestDelay * 1000))
          delay.observe(Math.max(0, now - taken) / 1000);
      },
      failed: () => this.#errors.inc({ projection }),
    };
  }
}

/** When each request came, or the last one alone where even that was before `history`: all others show the same. */
function* momentsOf<Event>(
  events: readonly Event[],
  takenAt: TakenAt<Event>,
  history: number,
): Generator<number> {
  const newest = events.at(-1);
  const isHistory = newest !== undefined && (takenAt(newest) ?? history) < history;
  let last: number | undefined;
  for (const event of isHistory ? [newest] : events) {
    const taken = takenAt(event);
    if (taken !== undefined && taken !== last) yield taken;
    last = taken;
  }
}

/** Reports stalled projections; `stalls` gives the stall of each, `null` for none. */
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

const measures = {
  done: ['fieldlog_rebuild_events_done', 'Events that the running build has consumed'],
  total: ['fieldlog_rebuild_events', 'Events that the running build has to consume'],
  rate: ['fieldlog_rebuild_events_per_second', 'Events that the running build consumes a second'],
} as const satisfies Partial<Record<keyof BuildProgress, readonly [string, string]>>;

/** Registers how far builds have come, whichever process runs them; read at each scrape. */
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
        const states = (await withinScrape(control.states())) ?? [];
        for (const { projection, generation, runner, progress } of states.flatMap((one) => one.generations))
          if (runner !== null && progress)
            this.set({ projection, generation, phase: progress.phase }, progress[measure]);
      },
    });
}
