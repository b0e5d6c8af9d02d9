import { globSync } from 'node:fs';
import Mocha from 'mocha';

/** What StrykerJS's instrumentation and it share: which mutant is active, and which test covers which mutant. */
type Instrumenter = {
  activeMutant: string | undefined;
  currentTestId: string | undefined;
  mutantCoverage?: unknown;
  hitCount: number | undefined;
  hitLimit: number | undefined;
};
type MutantRun = {
  readonly activeMutant: { readonly id: string };
  readonly testFilter?: readonly string[];
  readonly hitLimit?: number;
  readonly mutantActivation: 'static' | 'runtime';
};
type TestResult = {
  readonly id: string;
  readonly name: string;
  readonly status: 'success' | 'failed' | 'skipped';
  readonly timeSpentMs: number;
  readonly failureMessage: string;
};

/**
 * Runs the tests named in `stryker.config.json` in one process, again for each mutant: mutants are switches in code that is
 * loaded once. A mutant of what is computed when a module is loaded gets a new process.
 */
class MochaTestRunner {
  static inject = ['options'] as const;
  readonly #files: readonly string[];
  readonly #instrumenter: Instrumenter;
  readonly #mocha = new Mocha({ reporter: Mocha.reporters.Base, timeout: 0 });
  #isLoaded = false;

  constructor(options: { readonly mutationTests: readonly string[] }) {
    this.#files = options.mutationTests.flatMap((pattern) => globSync(pattern)).sort();
    const shared = globalThis as unknown as { __stryker__?: Instrumenter };
    shared.__stryker__ ??= {} as Instrumenter;
    this.#instrumenter = shared.__stryker__;
  }

  capabilities() {
    return { reloadEnvironment: false };
  }

  async dryRun() {
    const tests = await this.#run(undefined, 'runtime', 'all');
    const { mutantCoverage } = this.#instrumenter;
    return { status: 'complete', tests, mutantCoverage };
  }

  async mutantRun({ activeMutant, testFilter, hitLimit, mutantActivation }: MutantRun) {
    const instrumenter = this.#instrumenter;
    instrumenter.hitLimit = hitLimit;
    instrumenter.hitCount = hitLimit === undefined ? undefined : 0;
    const tests = await this.#run(activeMutant.id, mutantActivation, 'until one fails', testFilter);
    if (hitLimit !== undefined && (instrumenter.hitCount ?? 0) > hitLimit)
      return { status: 'timeout', reason: `reached ${hitLimit} times` };
    const failed = tests.filter(({ status }) => status === 'failed');
    if (failed.length === 0) return { status: 'survived', nrOfTests: tests.length };
    const killedBy = failed.map(({ id }) => id);
    return { status: 'killed', killedBy, failureMessage: failed[0]?.failureMessage, nrOfTests: tests.length };
  }

  async #run(
    mutant: string | undefined,
    activation: 'static' | 'runtime',
    how: 'all' | 'until one fails',
    only?: readonly string[],
  ): Promise<readonly TestResult[]> {
    const mocha = this.#mocha;
    const instrumenter = this.#instrumenter;
    if (!this.#isLoaded) {
      instrumenter.activeMutant = activation === 'static' ? mutant : undefined;
      for (const file of this.#files) mocha.addFile(file);
      mocha.cleanReferencesAfterRun(false);
      await mocha.loadFilesAsync();
      mocha.suite.beforeEach(function () {
        instrumenter.currentTestId = this.currentTest?.fullTitle();
      });
      this.#isLoaded = true;
    }
    instrumenter.activeMutant = mutant;
    mocha.suite.bail(how === 'until one fails');
    const wanted = only && new Set(only);
    mocha.grep(wanted ? matching(wanted) : /(?:)/);
    const tests: TestResult[] = [];
    await new Promise<void>((resolve) => {
      const runner = mocha.run(() => resolve());
      const add = (test: Mocha.Test, status: TestResult['status'], failureMessage = '') => {
        const name = test.fullTitle();
        tests.push({ id: name, name, status, timeSpentMs: test.duration ?? 0, failureMessage });
      };
      runner.on('pass', (test) => add(test, 'success'));
      runner.on('fail', (test, error) => add(test as Mocha.Test, 'failed', String(error?.message ?? error)));
      runner.on('pending', (test) => add(test, 'skipped'));
    });
    return tests;
  }
}

/** A title is taken for what it is, not for a pattern. */
function matching(titles: ReadonlySet<string>): RegExp {
  const escaped = [...titles].map((title) => title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^(${escaped.join('|')})$`);
}

export const strykerPlugins = [
  { kind: 'TestRunner', name: 'mocha-in-process', injectableClass: MochaTestRunner },
];
