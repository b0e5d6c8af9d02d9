const { enableCompileCache } = require('node:module');
const path = require('node:path');

// Tests start hundreds of threads and processes, each of which would compile the code again. Not for coverage, which is
// less exact for code from a cache.
if (!process.env.NODE_V8_COVERAGE) {
  process.env.NODE_COMPILE_CACHE ??= path.join(__dirname, 'node_modules/.cache/fieldlog');
  enableCompileCache(process.env.NODE_COMPILE_CACHE);
}

/** With files or folders as arguments only those are run, otherwise every file under test/. */
module.exports = {
  recursive: true,
  extension: ['test.ts'],
  reporter: 'test/support/reporter.cjs',
  timeout: 20_000,
  'forbid-only': Boolean(process.env.CI),
};
