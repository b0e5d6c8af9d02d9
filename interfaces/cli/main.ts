import type { CommandContext } from './command-context.ts';
import { Interrupted } from './exit-codes.ts';
import { run } from './program.ts';
import { terminalOn } from './terminal.ts';

const context: CommandContext = {
  env: process.env,
  terminal: terminalOn(process.stdout, process.stderr),
  signal: untilSignalled(),
  exitCode: 0,
  parts: {
    log: async (level, role) => (await import('../composition/process.ts')).openLog(level, role),
    start: async (role, config, log) =>
      (await import('../composition/roles.ts')).startRole(role, config, log),
    openReplay: async (config, log, doing) =>
      (await import('../composition/sessions.ts')).openOperations(config, log, doing),
    openKeys: async (config, log) => (await import('../composition/sessions.ts')).openKeys(config, log),
    openRetention: async (config, log) =>
      (await import('../composition/retention.ts')).openRetention(config, log),
    openSession: async (config, log) => (await import('../composition/sessions.ts')).openSession(config, log),
  },
};

process.exitCode = await run(process.argv.slice(2), context);

/**
 * The first signal asks to stop, the next one is obeyed at once. npm and `fieldlog.mjs` pass a Ctrl-C on that the
 * terminal has sent to this process too, so what comes in the same moment is the same signal.
 */
function untilSignalled(): AbortSignal {
  const stop = new AbortController();
  let first = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      const interrupted = new Interrupted(signal);
      if (first === 0) {
        first = performance.now();
        stop.abort(interrupted);
      } else if (performance.now() - first > 500) process.exit(interrupted.exitCode);
    });
  return stop.signal;
}
