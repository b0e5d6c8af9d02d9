import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { patience } from './eventually.ts';
import { ownEnvironment } from './own-environment.ts';

export const bin = path.resolve(import.meta.dirname, '../../interfaces/cli/fieldlog.mjs');

export type FieldlogProcess = {
  readonly child: ChildProcess;
  /** Everything it wrote to standard error. */
  readonly errors: () => string;
  /** Resolves with the first match of `form` in what it writes to standard output, or fails when it ends first. */
  says(form: RegExp, within?: number): Promise<RegExpMatchArray>;
  /** Ends it by a signal, and resolves with its exit code once it is gone. */
  end(signal: NodeJS.Signals): Promise<number | null>;
};

/** Runs the command line as its users do, in a process of its own; `of` is that of another release. */
export function fieldlog(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  of = bin,
): FieldlogProcess {
  // Compiled code is found by its path, so that of a release in a temporary folder is of use there alone.
  const compiled = of !== bin ? { NODE_COMPILE_CACHE: path.resolve(of, '../compiled') } : {};
  const child = spawn(process.execPath, [of, ...args], {
    env: { ...ownEnvironment, LOG_LEVEL: 'warn', ...compiled, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const exited = once(child, 'exit');

  return {
    child,
    errors: () => err,
    async says(form, within = 30_000) {
      const deadline = Date.now() + patience(within);
      for (;;) {
        const match = out.match(form);
        if (match) return match;
        assert.ok(child.exitCode === null && child.signalCode === null, `fieldlog ended early: ${err}`);
        assert.ok(Date.now() < deadline, `fieldlog did not say ${form} within ${within} ms: ${out}${err}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}
