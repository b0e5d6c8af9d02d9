import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { mutants } from './mutants/mutants.ts';
import { drawOptions, laterThings, type WorldOptions } from './options.ts';
import { shrink } from './shrink.ts';
import { runWorld } from './world.ts';

const seeds = 20;
const operations = 40;

type Regression = {
  readonly seed: string;
  readonly what: string;
  readonly without: readonly string[];
  readonly also?: Partial<WorldOptions>;
  readonly hasLaterThings?: true;
};

/** Worlds of 150 operations that broke a rule once. Later kinds of faults are left out, which would make others of them. */
const regressions: readonly Regression[] = [
  {
    seed: '16',
    what: 'a process crashes just before its transaction',
    without: ['deletion', 'expiry', 'rules'],
  },
  {
    seed: '99',
    what: 'a slow look for registered devices puts off the next',
    without: ['deletion', 'expiry', 'rules'],
  },
  {
    seed: '104',
    what: 'a registered device waits behind a reading in a foreign partition',
    without: ['deletion', 'expiry', 'rules'],
  },
  {
    seed: '218',
    what: 'an API and a worker are gone at once when faults end',
    without: ['deletion', 'expiry', 'rules'],
  },
  {
    seed: '52',
    what: 'a reading of an erased device that came an hour after the erasure stayed in the tables',
    without: ['deletion', 'expiry', 'rules'],
  },
  { seed: '39', what: 'an audit waits for a partition all of which has expired', without: ['rules'] },
  {
    seed: '33',
    what: 'an alarm stays whose rule has ended when the stream of its device is deleted',
    without: ['expiry'],
    also: { hasRules: true },
  },
  {
    seed: '51',
    what: 'a new release stops at a reading that its predecessor had not come to and nobody can apply',
    without: ['restore'],
    also: { hasRules: false },
    hasLaterThings: true,
  },
  {
    seed: '53',
    what: 'a new release keeps back its tables for a device that was deleted meanwhile',
    without: [],
    hasLaterThings: true,
  },
];

/** `npm run simulation` runs as many and as long worlds as are asked for; see docs/simulation.md. */
describe('Simulation', function () {
  this.timeout(60_000);

  for (let seed = 1; seed <= seeds; seed += 1)
    it(`of seed ${seed} breaks no rule`, async () => {
      const { violation } = await runWorld(drawOptions(String(seed), operations));
      assert.equal(violation?.stack, undefined);
    });

  for (const { seed, what, without, also, hasLaterThings } of regressions)
    it(`of seed ${seed} breaks no rule any more: ${what}`, async () => {
      const { violation } = await runWorld({
        ...drawOptions(seed, 150, new Set([...without, ...(hasLaterThings ? [] : laterThings)])),
        ...also,
      });
      assert.equal(violation?.stack, undefined);
    });

  it('is the same for the same seed, byte for byte', async () => {
    const options = drawOptions('7', operations);
    const first = await runWorld(options);
    const second = await runWorld(options);
    assert.ok(first.timeline.lines.length > operations);
    assert.deepEqual(second.timeline.lines, first.timeline.lines);
  });

  it('is shortened to the faults and operations that break a rule', async () => {
    const options = { ...drawOptions('7', 2000), faults: ['lost', 'crash', 'leap'] as const };
    const shorter = await shrink(
      options,
      async ({ operations, faults }) => operations >= 37 && faults.includes('crash'),
    );
    assert.deepEqual(shorter, { ...options, operations: shorter.operations, faults: ['crash'] });
    assert.ok(shorter.operations >= 37 && shorter.operations <= 60, `${shorter.operations} operations`);
  });

  it('has mutants that apply', () => {
    const root = path.resolve(import.meta.dirname, '../..');
    const stale = mutants.filter(
      ({ file, find }) => readFileSync(path.join(root, file), 'utf8').split(find).length !== 2,
    );
    assert.deepEqual(
      stale.map(({ name }) => name),
      [],
    );
  });
});
