import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { root } from './yaml-file.ts';

/** Runs a program in the project's folder and gives what it wrote to standard output; fails with all it wrote. */
export function run(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${error?.message ?? ''}${stdout}${stderr}`);
  return stdout;
}

/**
 * A test that runs a program this project does not bring. Without the program it is pending and says how to get it;
 * under CI, where the program must be there, it fails.
 */
export function itWith(
  program: string,
  title: string,
  test: (run: (...args: readonly string[]) => string) => unknown,
): void {
  if (isOnPath(program)) {
    it(title, function () {
      this.timeout(60_000);
      return test((...args) => run(program, ...args)) as undefined;
    });
    return;
  }
  const missing = `${title} (needs ${program}: eval "$(.ci/tools)")`;
  if (process.env.CI) it(missing, () => assert.fail(missing));
  else it(missing);
}

/** What kustomize makes of a folder. */
export const kustomize = (folder: string): string =>
  isOnPath('kubectl') ? run('kubectl', 'kustomize', folder) : run('kustomize', 'build', folder);

/** A suite that needs one of these programs; pending or failed like `itWith` where there is none of them. */
export function describeWith(
  programs: readonly [string, ...string[]],
  title: string,
  suite: (this: Mocha.Suite) => void,
): void {
  if (programs.some(isOnPath)) describe(title, suite);
  else describe(title, () => itWith(programs[0], 'runs', () => {}));
}

export function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(path.delimiter).some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
