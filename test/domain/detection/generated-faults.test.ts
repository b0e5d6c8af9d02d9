import assert from 'node:assert/strict';
import { evaluatorOf, type Transition } from '../../../domain/detection/evaluators.ts';
import { ruleKinds } from '../../../domain/detection/rule.ts';
import {
  day,
  delaysOf,
  generatedProcesses,
  injectedFaults,
  rulesOfCourse,
  stateBytes,
} from '../../support/generated-series.ts';
import { seeded } from '../../support/seeded.ts';

/** Readings until each kind of rule finds a fault. */
const found = Object.fromEntries(ruleKinds.map((kind) => [kind, delaysOf(rulesOfCourse[kind], 3)]));

/** The kinds of rule that find a fault, each within so many readings. */
const finders: Readonly<Record<keyof typeof injectedFaults, Readonly<Record<string, number>>>> = {
  none: {},
  'one value 10 too high': { range: 0, rate: 0, novel: 0 },
  'one value 4 too high': { range: 0, rate: 0, novel: 0 },
  'all values 7.5 too high': { range: day, rate: 0, novel: day },
  'all values 2 too high': { range: day, novel: day },
  'one more each day': { range: 3 * day, novel: 3 * day },
  'noise five times as strong': { range: day, rate: day, novel: day },
  'zeros instead': { range: 0, rate: 0, stuck: 6, novel: 0 },
  'stuck at the last value': { stuck: 6 },
  'the course half a day late': { rate: 0 },
  'nothing sent': { silent: 2 },
};

describe('Faults injected into a daily course', () => {
  for (const fault of Object.keys(injectedFaults))
    it(`are found by the kinds of rule that see them, in time: ${fault}`, () => {
      const delays = Object.fromEntries(
        ruleKinds.flatMap((kind) => {
          const delay = found[kind]?.[fault];
          return delay === undefined ? [] : [[kind, delay]];
        }),
      );
      const expected = finders[fault] ?? {};
      assert.deepEqual(Object.keys(delays).sort(), Object.keys(expected).sort(), JSON.stringify(delays));
      for (const [kind, delay] of Object.entries(delays))
        assert.ok(delay <= (expected[kind] ?? 0), `${kind} after ${delay}`);
    });

  for (const kind of ruleKinds)
    it(`are found by ${kind} after the same number of readings each time`, () => {
      assert.deepEqual(delaysOf(rulesOfCourse[kind], 3), found[kind]);
    });
});

describe('Rules on generated processes', () => {
  it('remember little of a series, however many values it has', () => {
    const bytes = Object.fromEntries(ruleKinds.map((kind) => [kind, stateBytes(rulesOfCourse[kind])]));
    assert.deepEqual(bytes, { range: 40, rate: 56, stuck: 40, silent: 24, novel: 2296 });
  });

  for (const kind of ruleKinds)
    it(`raise the same alarms when what they remember is stored and read between any values: ${kind}`, () => {
      let transitions = 0;
      for (const [name, process] of Object.entries(generatedProcesses)) {
        const whole = transitionsOf(kind, process(seeded(5)), Number.POSITIVE_INFINITY);
        assert.deepEqual(transitionsOf(kind, process(seeded(5)), 7), whole, name);
        transitions += whole.length;
      }
      assert.ok(transitions > 10, `only ${transitions} changes of alarms`);
    });

  /** Of 2,000 values, one in ten of which does not come, stored and read after every so many. */
  function transitionsOf(
    kind: (typeof ruleKinds)[number],
    valueAt: (point: number) => number,
    every: number,
  ): readonly Transition[] {
    const condition = sensitive[kind];
    const gaps = seeded(9);
    let evaluator = evaluatorOf(condition);
    const transitions: Transition[] = [];
    for (let point = 0; point < 2000; point += 1) {
      if (point % every === 0) evaluator = evaluatorOf(condition, Float64Array.from(evaluator.save()));
      const time = point * 300_000;
      const value = valueAt(point);
      transitions.push(...(evaluator.silentUntil?.(time - 1) ?? []));
      if (gaps.next() >= 0.1)
        transitions.push(...evaluator.next({ timestamp: time, receivedAt: time, value }));
    }
    return transitions;
  }
});

/** Such that all processes but the dullest raise alarms. */
const sensitive = {
  range: { kind: 'range', above: 1, below: -1, clearAbove: 0.5, count: 2, for: 300_000 },
  rate: { kind: 'rate', above: 0.003, below: -0.003 },
  stuck: { kind: 'stuck', for: 900_000, tolerance: 1 },
  silent: { kind: 'silent', for: 300_000 },
  novel: { kind: 'novel', sensitivity: 0.02 },
} as const;
