/** With files or folders as arguments only those are run, otherwise every file under test/. */
module.exports = {
  recursive: true,
  extension: ['test.ts'],
  reporter: 'test/support/reporter.cjs',
  timeout: 20_000,
  'forbid-only': Boolean(process.env.CI),
};
