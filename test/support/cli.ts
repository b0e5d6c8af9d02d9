import { Writable } from 'node:stream';
import type { CommandContext } from '../../interfaces/cli/command-context.ts';
import { run } from '../../interfaces/cli/program.ts';
import { terminalOn } from '../../interfaces/cli/terminal.ts';
import { openLog } from '../../interfaces/composition/process.ts';
import { openRetention } from '../../interfaces/composition/retention.ts';
import { startRole } from '../../interfaces/composition/roles.ts';
import { openKeys, openOperations, openSession } from '../../interfaces/composition/sessions.ts';

export type Ran = { readonly code: number; readonly out: string; readonly err: string };

/** Runs one command line in this process, on the real stores unless other parts are given. */
export async function runCli(
  args: readonly string[],
  { env = {}, ...replaced }: Partial<Pick<CommandContext, 'env' | 'signal' | 'parts'>> = {},
): Promise<Ran> {
  const out = collector();
  const err = collector();
  const context: CommandContext = {
    env: { LOG_LEVEL: 'silent', ...env },
    terminal: terminalOn(out.stream, err.stream),
    signal: new AbortController().signal,
    parts: {
      log: async (level, role) => openLog(level, role),
      start: startRole,
      openSession,
      openReplay: openOperations,
      openKeys,
      openRetention,
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
