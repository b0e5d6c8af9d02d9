const path = require('node:path');
const { reporters } = require('mocha');

/** By a test's file and title, what it ran on. */
const engines = {
  SQLite: /sqlite|embedded/i,
  MariaDB: /on MariaDB/,
  MySQL: /on MySQL/,
  Kafka: /kafka|distributed/i,
  EventStoreDB: /eventstoredb|distributed/i,
};

/**
 * Mocha's spec reporter, which also names the tests that passed only when tried again and the files that could not be
 * run to their end, counts those that passed on each engine, and ends with one plain line of counts.
 */
module.exports = class Reporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    this.second = [];
    this.broken = [];
    this.passesOn = new Map();
    runner.on('pass', (test) => {
      const name = `${path.relative('', test.file ?? '')} ${test.fullTitle()}`;
      for (const [engine, form] of Object.entries(engines))
        if (form.test(name)) this.passesOn.set(engine, (this.passesOn.get(engine) ?? 0) + 1);
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
    const counts = Object.keys(engines).map((engine) => `${engine} ${this.passesOn.get(engine) ?? 0}`);
    reporters.Base.consoleLog(`  passed on ${counts.join(', ')}`);
    reporters.Base.consoleLog(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
};
