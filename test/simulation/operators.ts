import type { Operations } from '../../application/operations/operations.ts';
import { type ProjectionName, projectionNames } from '../../application/projections/projection.ts';
import { checkError } from './book-keeper.ts';
import { type Command, openCommand } from './world/fieldlog.ts';
import type { World } from './world.ts';

const workWeights = {
  rebuild: 4,
  rebuildDevice: 2,
  rollback: 1,
  pause: 1.5,
  retry: 3,
  discard: 1,
  audit: 2,
  drop: 1,
  list: 3,
};
const busyWeights = { ...workWeights, rebuildWaiting: 5, rollback: 3, discard: 3, interrupt: 6 };
type Work = keyof typeof busyWeights;
const building: ReadonlySet<Work> = new Set([
  'rebuild',
  'rebuildDevice',
  'rebuildWaiting',
  'interrupt',
  'drop',
]);

/** What operators do while the fleet sends: each command is a process of its own. */
export class Operators {
  readonly #world: World;
  #commands = 0;
  /** Switches that may be running: what is read meanwhile may be of either generation. */
  switching = 0;
  #hasLeft = false;
  /** Of these, readings may have been given up. */
  readonly discarded = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  async act(): Promise<void> {
    const { random, timeline, options } = this.#world;
    const kind: Work = options.isBusy ? random.weighted(busyWeights) : random.weighted(workWeights);
    if (this.#hasLeft && building.has(kind)) return;
    timeline.count(`operation: ${kind}`);
    await this.run(kind, (operations, signal) => this.#work(kind, operations, signal));
  }

  run(
    what: string,
    work: (operations: Operations, signal: AbortSignal) => Promise<unknown>,
  ): Promise<unknown> {
    return this.runCommand(what, async (command, signal) => work(await command.operations(), signal));
  }

  /** Resolves when the command has ended, however. */
  async runCommand(
    what: string,
    work: (command: Command, signal: AbortSignal) => Promise<unknown>,
  ): Promise<unknown> {
    const { timeline, network, servers, options, fleet } = this.#world;
    this.#commands += 1;
    const id = `${what}-${this.#commands}`;
    const command = openCommand(id, { network, servers, options, release: fleet.releaseToStart() });
    const { process } = command;
    this.#world.running.add(process);
    timeline.add(id, 'begins');
    const working = (async () => {
      try {
        const result = await work(command, process.stopping.signal);
        timeline.add(id, `done ${summary(result)}`);
        return result;
      } catch (error) {
        timeline.add(id, `failed: ${(error as Error).name} ${(error as Error).message}`);
        if (!process.stopping.signal.aborted) this.#checkFailure(error as Error, id);
        return undefined;
      }
    })();
    try {
      return await Promise.race([working, process.crashed]);
    } finally {
      this.#world.running.delete(process);
    }
  }

  /** A build stops at an event that only it cannot apply, which says that the two generations differ. */
  #checkFailure(error: Error, id: string): void {
    if (['HistoryExpired', 'CheckpointOfAnotherLog', 'PoisonEvent'].includes(error.name)) return;
    checkError(error, id);
  }

  async #work(kind: Work, operations: Operations, signal: AbortSignal): Promise<unknown> {
    const { random, options, servers } = this.#world;
    const keepOlder = servers.telemetryLog.hasExpired && random.chance(0.5);
    const name = random.pick(projectionNames);
    const deviceId = `d${random.between(1, options.devices)}`;
    switch (kind) {
      case 'rebuild':
        return this.#switched(() => operations.rebuild(name, { signal, handover: 100, keepOlder }));
      case 'rebuildDevice':
        return this.#switched(() => operations.rebuildDevice(name, deviceId, { signal, keepOlder }));
      case 'rebuildWaiting':
        return this.#switched(() => this.#rebuildWaiting(operations, signal));
      case 'interrupt':
        return this.#switched(() =>
          this.#interruptAndResume(random.chance(0.5) ? 'telemetry' : name, operations, signal),
        );
      case 'rollback':
        return this.#switched(() =>
          operations.switchTo(random.pick(['retired', 'ready']), name, { signal, handover: 100 }),
        );
      case 'pause':
        await operations.setPaused(name, true);
        await new Promise((resolve) => setTimeout(resolve, random.between(10, 3000)));
        return operations.setPaused(name, false);
      case 'retry':
        return retryAll(operations);
      case 'discard':
        return this.#discard(operations);
      case 'audit':
        return this.#audit(operations, signal);
      case 'drop':
        return operations.drop(name, random.between(1, 4));
      case 'list':
        return operations.list();
    }
  }

  /** The telemetry of a registered device that has dead letters. */
  async #rebuildWaiting({ deadLetters, rebuildDevice }: Operations, signal: AbortSignal): Promise<unknown> {
    const { random, devices } = this.#world;
    const waiting = await deadLetters.list({ projection: 'telemetry' }, { limit: 50 });
    const streams = new Set(waiting.map(({ stream }) => stream));
    const found = devices.deviceIds.filter((deviceId) => streams.has(`device-${deviceId}`));
    if (found.length === 0) return undefined;
    return rebuildDevice('telemetry', random.pick(found), { signal });
  }

  /** Of a stream that waits, whether or not it could be retried by now. */
  async #discard({ deadLetters, deadLetterOperations }: Operations): Promise<unknown> {
    const waiting = await deadLetters.list({ projection: 'telemetry' }, { limit: 50 });
    if (waiting.length === 0) return undefined;
    const { stream } = this.#world.random.pick(waiting);
    const why = { by: 'operator', reason: 'known' };
    this.discarded.add(stream);
    return deadLetterOperations.discard({ projection: 'telemetry', stream }, why);
  }

  /** Begins a rebuild that nobody takes up until the end. */
  async leaveRebuild(): Promise<void> {
    this.#hasLeft = true;
    await this.run('leave', (operations, signal) =>
      this.#switched(() => this.#interruptRebuild('telemetry', operations, signal)),
    );
  }

  async #interruptAndResume(
    name: ProjectionName,
    operations: Operations,
    signal: AbortSignal,
  ): Promise<unknown> {
    const outcome = await this.#interruptRebuild(name, operations, signal);
    if (outcome !== undefined) return outcome;
    await new Promise((resolve) => setTimeout(resolve, this.#world.random.between(0, 3000)));
    return operations.rebuild(name, { signal, handover: 100 });
  }

  /** Ends a rebuild that is slow and gives up what waits; `undefined` unless it was faster. */
  async #interruptRebuild(
    name: ProjectionName,
    operations: Operations,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { random, timeline } = this.#world;
    const enough = new AbortController();
    setTimeout(() => enough.abort(new Error('interrupted')), random.between(100, 4000));
    const how = { throttle: random.pick([20, 100, 400]), handover: 100 };
    try {
      return await operations.rebuild(name, { ...how, signal: AbortSignal.any([signal, enough.signal]) });
    } catch (error) {
      if (!enough.signal.aborted || signal.aborted) throw error;
      timeline.add('world', `a rebuild of ${name} is interrupted`);
    }
    if (random.chance(0.7)) await this.#discard(operations);
    return undefined;
  }

  async #switched<T>(work: () => Promise<T>): Promise<T> {
    this.switching += 1;
    try {
      return await work();
    } finally {
      this.switching -= 1;
    }
  }

  /** At any moment, since what is on its way is counted too; but not while the log is older than the tables. */
  async #audit(operations: Operations, signal: AbortSignal): Promise<unknown> {
    const report = await operations.audit({}, signal);
    this.#world.checkAudit(report);
    return `${report.differenceCount} differences`;
  }
}

/** Until nothing is left to try. */
export async function retryAll({ deadLetterOperations }: Operations): Promise<number> {
  let applied = 0;
  for await (const stream of deadLetterOperations.retry({ projection: 'telemetry' }))
    applied += stream.applied;
  return applied;
}

function summary(result: unknown): string {
  if (result === undefined) return '';
  if (typeof result === 'string' || typeof result === 'number') return String(result);
  const { generation, switched, comparison } = result as {
    generation?: number;
    switched?: boolean;
    comparison?: { equal: boolean };
  };
  return generation === undefined
    ? ''
    : `generation ${generation}, switched ${switched}, equal ${comparison?.equal}`;
}
