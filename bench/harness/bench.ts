import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type Usage, watchUsage } from './usage.ts';

export type BenchOptions = {
  /** How often each side is measured; the table shows medians. */
  readonly rounds: number;
  /** Short and small: shows that everything runs, not how fast. */
  readonly quick: boolean;
  /** Where the servers of the distributed profile are; undefined in the embedded one. */
  readonly servers?: ServerUrls | undefined;
  /** Those of them that were started for the run. */
  readonly serverProcesses?: readonly Watched[] | undefined;
};

export type ServerUrls = { readonly kafka: string; readonly mysql: string };
export type Watched = { readonly role: string; readonly pid: number };
type Side = {
  /** What a run needs, outside the measurement. */
  readonly prepare?: () => Promise<void>;
  readonly run: () => Promise<number>;
  /** What has to be over before the other side's turn, outside the measurement. */
  readonly settle?: () => Promise<void>;
  readonly processes: readonly Watched[];
};

/** What a figure is taken with; `close` ends and removes all that was opened through it, the last thing first. */
export class Bench {
  readonly options: BenchOptions;
  readonly #open: (() => Promise<void>)[] = [];

  constructor(options: BenchOptions) {
    this.options = options;
  }

  /** `full` or, with `--quick`, the smaller amount. */
  size(full: number, quick: number): number {
    return this.options.quick ? quick : full;
  }

  /** A new folder that is gone afterwards. */
  async folder(): Promise<string> {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'fieldlog-bench-'));
    this.onClose(() => rm(folder, { recursive: true, force: true }));
    return folder;
  }

  /** Keeps a started process until the figure is taken. */
  keep<Started extends { end(): Promise<void> }>(started: Started): Started {
    this.onClose(() => started.end());
    return started;
  }

  onClose(close: () => Promise<void>): void {
    this.#open.push(close);
  }

  /** Runs both sides in turn, the first one first in every other round, and reports what processes took meanwhile. */
  async inTurn(
    own: Side,
    against: Side,
  ): Promise<{
    readonly values: number[];
    readonly againstValues: number[];
    readonly usage: readonly Usage[];
  }> {
    const values: number[] = [];
    const againstValues: number[] = [];
    const usage = new Map<string, Usage>();
    for (let round = 0; round < this.options.rounds; round += 1) {
      const sides = [
        [own, values],
        [against, againstValues],
      ] as const;
      for (const [side, results] of round % 2 === 0 ? sides : sides.toReversed()) {
        await side.prepare?.();
        const watches = side.processes.map(({ role, pid }) => watchUsage(role, pid));
        results.push(await side.run());
        for (const watch of watches) {
          const used = watch();
          usage.set(used.role, used);
        }
        await side.settle?.();
      }
    }
    return { values, againstValues, usage: [...usage.values()] };
  }

  async close(): Promise<void> {
    for (const close of this.#open.splice(0).toReversed()) await close();
  }
}
