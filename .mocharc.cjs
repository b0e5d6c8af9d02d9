const { existsSync } = require('node:fs');
const { enableCompileCache } = require('node:module');
const path = require('node:path');

// Tests start hundreds of threads and processes, each of which would compile the code again. Not for coverage, which is
// less exact for code from a cache.
if (!process.env.NODE_V8_COVERAGE) {
  process.env.NODE_COMPILE_CACHE ??= path.join(__dirname, 'node_modules/.cache/fieldlog');
  enableCompileCache(process.env.NODE_COMPILE_CACHE);
}

const named = process.argv.slice(2).some((argument) => existsSync(argument));

/**
 * With files or folders as arguments only those are run, one after the other in this process, where `.only` and a
 * debugger work. Otherwise every file under test/, three at a time: many wait for timers. In CI, whose servers need the
 * cores too, two.
 */
module.exports = {
  recursive: true,
  extension: ['test.ts'],
  parallel: !named,
  jobs: process.env.CI ? 2 : 3,
  require: ['./test/support/worker-exit.cjs', './test/support/runtime-folder.cjs'],
  reporter: 'test/support/reporter.cjs',
  // Two test processes share the cores with four servers there.
  timeout: process.env.CI ? 60_000 : 20_000,
  'forbid-only': Boolean(process.env.CI),
};
