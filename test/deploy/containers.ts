import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { isOnPath } from './tools.ts';
import { root } from './yaml-file.ts';

export type Ended = { readonly code: number | null; readonly out: string; readonly err: string };

/**
 * A session of `.ci/containers`, in which podman and buildah run. All that is started in it ends with it, and it ends
 * with this process.
 */
export class Containers {
  readonly #session: ChildProcess;

  private constructor(session: ChildProcess) {
    this.#session = session;
  }

  static async open(): Promise<Containers> {
    const line = ['sh', '-c', 'echo ready; read line'];
    const session = spawn(path.join(root, '.ci/containers'), line, { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = once(session, 'exit').then(([code]) => assert.fail(`.ci/containers ended with ${code}`));
    await Promise.race([once(session.stdout, 'data'), ended]);
    ended.catch(() => {});
    return new Containers(session);
  }

  /** Runs a program in the project's folder to its end, whatever that is. */
  async run(program: string, ...args: readonly string[]): Promise<Ended> {
    const { pid } = this.#session;
    const where = [`--target=${pid}`, '--mount', `--pid=/proc/${pid}/ns/pid_for_children`, `--wd=${root}`];
    const child = spawn('nsenter', [...where, '--', program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const [out, err, [code]] = await Promise.all([
      child.stdout.setEncoding('utf8').toArray(),
      child.stderr.setEncoding('utf8').toArray(),
      once(child, 'exit'),
    ]);
    return { code, out: out.join(''), err: err.join('') };
  }

  /** As `run`, and fails with all that was written unless it ends well; answers what it wrote to standard output. */
  async output(program: string, ...args: readonly string[]): Promise<string> {
    const { code, out, err } = await this.run(program, ...args);
    assert.equal(code, 0, `${program} ${args.join(' ')}: ${out}${err}`);
    return out.trim();
  }

  async close(): Promise<void> {
    const ended = once(this.#session, 'exit');
    this.#session.stdin?.end();
    await ended;
  }
}

/** A suite that needs containers: pending where they cannot be run; under CI a failure where root has apt. */
export function describeWithContainers(title: string, suite: (this: Mocha.Suite) => void): void {
  if (process.getuid?.() !== 0 || !isOnPath('apt-get')) {
    describe(title, () => it('runs (needs root, and apt-get for podman and buildah)'));
    return;
  }
  if (process.env.FIELDLOG_CONTAINERS !== undefined) {
    describe(title, suite);
    return;
  }
  const missing = 'runs (needs FIELDLOG_CONTAINERS: eval "$(.ci/tools)")';
  describe(title, () => {
    if (process.env.CI) it(missing, () => assert.fail(missing));
    else it(missing);
  });
}
