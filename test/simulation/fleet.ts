import { type ProjectionName, projectionNames, versionOf } from '../../application/projections/projection.ts';
import type { Random } from './random.ts';
import { type Release, type RunningProcess, startApi, startWorker } from './world/fieldlog.ts';
import type { SimulatedProcess } from './world/process.ts';
import type { World } from './world.ts';

export type Role = 'api' | 'worker';

/** So long a process that is asked to end may take. */
const stopTimeout = 15_000;

/** The nodes of the API and the workers: how many there are, of which release. */
export class Fleet {
  readonly #world: World;
  readonly #random: Random;
  readonly #of: Record<Role, RunningProcess[]> = { api: [], worker: [] };
  readonly #starting = { api: 0, worker: 0 };
  /** Asked to end. */
  readonly #leaving = new Set<SimulatedProcess>();
  readonly #wanted: Record<Role, number>;
  #started = 0;
  #newest: Release;
  /** While a new release takes its place, process by process. */
  #older: Release | undefined;
  /** A new release may not have built its tables yet. */
  isUpgrading = false;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#wanted = { api: world.options.apiNodes, worker: world.options.workers };
    this.#newest = releaseWith((name) => versionOf(name));
  }

  anyApi(random: Random): RunningProcess | undefined {
    const alive = this.#of.api.filter(({ process }) => process.isAlive);
    return alive.length === 0 ? undefined : random.pick(alive);
  }

  get processes(): readonly SimulatedProcess[] {
    return [...this.#of.api, ...this.#of.worker].map(({ process }) => process).concat(...this.#leaving);
  }

  /** Of a process that starts now. */
  releaseToStart(): Release {
    return this.#older && this.#random.chance(0.4) ? this.#older : this.#newest;
  }

  async startAll(role: Role): Promise<void> {
    for (let i = 0; i < this.#wanted[role]; i += 1) await this.#startOne(role);
  }

  async #startOne(role: Role): Promise<void> {
    const { network, servers, options, timeline, random } = this.#world;
    this.#started += 1;
    const name = `${role}-${this.#started}`;
    const release = this.releaseToStart();
    timeline.add(name, release === this.#newest ? 'starts' : 'starts in the older release');
    const start = role === 'api' ? startApi : startWorker;
    const started = await start(name, { network, servers, options, release });
    started.process.clockSkew = options.clockSkew === 0 ? 0 : random.between(0, options.clockSkew);
    this.#of[role].push(started);
  }

  /** Starts what is gone, some milliseconds later, one after the other. Returns whether all is as it should be. */
  keepAlive(after: number): boolean {
    for (const role of ['api', 'worker'] as const) {
      const list = this.#of[role];
      for (let i = list.length - 1; i >= 0; i -= 1) if (!list[i]?.process.isAlive) list.splice(i, 1);
      while (list.length > this.#wanted[role]) this.#stop(list, list.length - 1);
      if (list.length + this.#starting[role] >= this.#wanted[role]) continue;
      this.#starting[role] += 1;
      setTimeout(() => {
        this.#starting[role] -= 1;
        this.#startOne(role).catch((error) => this.#world.fail(error));
      }, after);
    }
    return this.#of.api.length === this.#wanted.api && this.#of.worker.length === this.#wanted.worker;
  }

  /** One more or one less of a role. */
  scale(): void {
    const role = this.#random.pick(['api', 'worker'] as const);
    const wanted = this.#wanted[role] + (this.#random.chance(0.5) ? 1 : -1);
    this.#wanted[role] = Math.min(4, Math.max(1, wanted));
    this.#world.timeline.add('world', `${role}: ${this.#wanted[role]} wanted`);
  }

  /** A release whose code builds other tables of some projections takes the place of the one before. */
  deploy(): void {
    if (this.#older) return;
    const changed = projectionNames.filter((name) => this.#random.chance(0.5) && this.#mayChange(name));
    this.#older = this.#newest;
    this.#newest = releaseWith((name) => (this.#newest[name] ?? 0) + (changed.includes(name) ? 1 : 0));
    this.isUpgrading = true;
    this.#world.timeline.add('world', `a release with other tables of ${changed} is deployed`);
    this.#rollOut();
  }

  /** Alarms of what has expired in the log cannot be built anew. */
  #mayChange(name: ProjectionName): boolean {
    return name !== 'detection' || !this.#world.options.faults.includes('expiry');
  }

  #rollOut(): void {
    setTimeout(
      () => {
        if (!this.#older) return;
        if (this.#stopOlder(1)) this.#rollOut();
        else this.#older = undefined;
      },
      this.#random.between(100, 4000),
    );
  }

  #stopOlder(most: number): boolean {
    let stopped = 0;
    for (const list of [this.#of.worker, this.#of.api])
      for (let i = list.length - 1; i >= 0 && stopped < most; i -= 1) {
        if (list[i]?.release === this.#newest) continue;
        this.#stop(list, i);
        stopped += 1;
      }
    return stopped > 0;
  }

  /** No more of the older release is started, and what there is ends. Returns whether nothing of it is left. */
  finishDeployment(): boolean {
    this.#older = undefined;
    return !this.#stopOlder(Number.POSITIVE_INFINITY);
  }

  #stop(list: RunningProcess[], at: number): void {
    for (const { process } of list.splice(at, 1)) {
      this.#world.timeline.add(process.name, 'is asked to end');
      this.#leaving.add(process);
      process.stopping.abort();
      setTimeout(() => {
        process.crash('stopped');
        this.#leaving.delete(process);
      }, stopTimeout);
    }
  }

  /** As an operator does before a restore. */
  async stopAll(): Promise<void> {
    const { running } = this.#world;
    const all = [...this.processes, ...running];
    for (const process of all) process.stopping.abort();
    await this.#world.pass(stopTimeout);
    for (const process of all) process.crash('stopped');
    this.#of.api.length = 0;
    this.#of.worker.length = 0;
  }
}

const releaseWith = (version: (name: ProjectionName) => number): Release =>
  Object.fromEntries(projectionNames.map((name) => [name, version(name)])) as Release;
