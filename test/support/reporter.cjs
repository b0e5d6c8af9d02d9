const { reporters } = require('mocha');

/** Mocha's spec reporter, with pending tests told with their reason and one plain line of counts at the end. */
module.exports = class Reporter extends reporters.Spec {
  epilogue() {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    reporters.Base.consoleLog(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
};
