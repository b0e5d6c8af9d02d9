import type { CommandContext } from './command-context.ts';
import { run } from './program.ts';
import { untilStopped } from './stop-signal.ts';
import { terminalOn } from './terminal.ts';

const context: CommandContext = {
  env: process.env,
  terminal: terminalOn(process.stdout, process.stderr, { stdin: process.stdin, type: process.env.TERM }),
  signal: untilStopped(process.env),
  exitCode: 0,
  runtime: {
    log: async (level, role) => (await import('../composition/process.ts')).openLog(level, role),
    start: async (role, config, log) =>
      (await import('../composition/roles.ts')).startRole(role, config, log),
    openApplication: async (config, log) =>
      (await import('../composition/application.ts')).openApplication(config, log),
    migrateTopic: async (...args) =>
      (await import('../composition/distributed.ts')).migrateKafkaTopic(...args),
    exit: (code) => process.exit(code),
  },
};

process.exitCode = await run(process.argv.slice(2), context);
