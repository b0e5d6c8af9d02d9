const path = require('node:path');
const { reporters } = require('mocha');

/**
 * Mocha's spec reporter, which also names the tests that passed only when tried again and the files that could not be
 * run to their end, and ends with one plain line of counts.
 */
module.exports = class Reporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    this.second = [];
    this.broken = [];
    runner.on('pass', (test) => {
      if (test.currentRetry() > 0) this.second.push(test.fullTitle());
    });
    // Of a file whose process ended, or that cannot be loaded, there is no test.
    runner.on('fail', (_, { file }) => {
      if (file) this.broken.push(path.relative('', file));
    });
  }

  epilogue() {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    for (const title of this.second) reporters.Base.consoleLog(`  passed when tried again: ${title}`);
    for (const file of this.broken) reporters.Base.consoleLog(`  not run to its end: ${file}`);
    reporters.Base.consoleLog(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
};
