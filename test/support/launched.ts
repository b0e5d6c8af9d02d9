import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { eventually } from './eventually.ts';
import { ownEnvironment } from './own-environment.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** `PATH` without what npm has put in front of it for this process: a user's own. */
export const userPath = (ownEnvironment.PATH ?? '')
  .split(path.delimiter)
  .filter((folder) => !folder.includes('node_modules'))
  .join(path.delimiter);

/** A server that was started through other programs, all in a process group of their own. */
export class Launched {
  readonly child: ChildProcess;
  /** Resolves once every process that could write to the child's output is gone. */
  readonly allGone: Promise<unknown>;
  /** Everything that it and what it has started wrote. */
  said = '';

  constructor(command: readonly [string, ...string[]], env: Readonly<Record<string, string>>, cwd = root) {
    const inherited = Object.entries(ownEnvironment).filter(([name]) => !/^(npm_.*|_)$/.test(name));
    this.child = spawn(command[0], command.slice(1), {
      cwd,
      env: { ...Object.fromEntries(inherited), PATH: userPath, PORT: '0', LOG_LEVEL: 'warn', ...env },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.said += text;
      });
    this.allGone = once(this.child, 'close');
  }

  /** The server's address, once it has printed it. */
  url(): Promise<string> {
    return eventually(() => this.said.match(/Fieldlog: (http:\S+)/)?.[1] ?? assert.fail(this.said), {
      within: 60_000,
    });
  }

  /** What the started program itself ended with. */
  async ended(): Promise<number | NodeJS.Signals> {
    const { child } = this;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.exitCode ?? child.signalCode ?? assert.fail();
  }

  /** Sends a signal to the whole group, as a terminal does for Ctrl-C. */
  killAll(signal: NodeJS.Signals): void {
    try {
      process.kill(-(this.child.pid ?? assert.fail()), signal);
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH');
    }
  }
}
