const { reporters } = require('mocha');

/**
 * Mocha's spec reporter, which also names the tests that passed only when tried again and ends with one plain line of
 * counts.
 */
module.exports = class Reporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    this.second = [];
    runner.on('pass', (test) => {
      if (test.currentRetry() > 0) this.second.push(test.fullTitle());
    });
  }

  epilogue() {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    for (const title of this.second) reporters.Base.consoleLog(`  passed when tried again: ${title}`);
    reporters.Base.consoleLog(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
};
