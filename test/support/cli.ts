import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import type { CommandContext } from '../../interfaces/cli/command-context.ts';
import { run } from '../../interfaces/cli/program.ts';
import { terminalOn } from '../../interfaces/cli/terminal.ts';
import { openApplication } from '../../interfaces/composition/application.ts';
import { openLog } from '../../interfaces/composition/process.ts';
import { startRole } from '../../interfaces/composition/roles.ts';

export type Ran = { readonly code: number; readonly out: string; readonly err: string };

/** Runs one command line in this process, on the real stores unless another runtime is given. */
export async function runCli(
  args: readonly string[],
  { env = {}, ...replaced }: Partial<Pick<CommandContext, 'env' | 'signal' | 'runtime'>> = {},
): Promise<Ran> {
  const out = collector();
  const err = collector();
  const context: CommandContext = {
    env: { LOG_LEVEL: 'silent', ...env },
    terminal: terminalOn(out.stream, err.stream),
    signal: new AbortController().signal,
    runtime: {
      log: async (level, role) => openLog(level, role),
      start: startRole,
      openApplication,
      migrateTopic: async (...args) =>
        (await import('../../interfaces/composition/distributed.ts')).migrateKafkaTopic(...args),
      exit: (code) => assert.fail(`the process was ended with ${code}`),
    },
    exitCode: 0,
    ...replaced,
  };
  const code = await run(args, context);
  return { code, out: out.text(), err: err.text() };
}

function collector() {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  return { stream, text: () => text };
}
