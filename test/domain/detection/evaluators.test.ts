import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type Evaluator,
  evaluatorOf,
  type SeriesReading,
  type Transition,
} from '../../../domain/detection/evaluators.ts';
import type { Condition } from '../../../domain/detection/rule.ts';

const minute = 60_000;
const start = Date.parse('2026-03-01T00:00:00Z');

/** Readings a minute apart. */
const minutely = (values: readonly number[]): readonly SeriesReading[] =>
  values.map((value, i) => ({ timestamp: start + i * minute, receivedAt: start + i * minute, value }));

/** A clock goes on between the readings. */
const next = (evaluator: Evaluator, reading: SeriesReading): readonly Transition[] => [
  ...(evaluator.silentUntil?.(reading.receivedAt - 1) ?? []),
  ...evaluator.next(reading),
];

function judge(condition: Condition, readings: readonly SeriesReading[]): readonly Transition[] {
  const evaluator = evaluatorOf(condition);
  return readings.flatMap((reading) => next(evaluator, reading));
}

/** `raised 3`: the change and how many minutes after the start. */
const changes = (condition: Condition, readings: readonly SeriesReading[]): readonly string[] =>
  judge(condition, readings).map(({ change, at }) => `${change} ${(at - start) / minute}`);

const explanations = (condition: Condition, readings: readonly SeriesReading[]): readonly string[] =>
  judge(condition, readings).map(({ explanation }) => explanation);

describe('Conditions of rules', () => {
  describe('range', () => {
    it('raises beyond a bound and clears within it', () => {
      const condition: Condition = { kind: 'range', above: 30, below: 10 };
      assert.deepEqual(changes(condition, minutely([20, 30, 31, 35, 30, 9, 10])), [
        'raised 2',
        'cleared 4',
        'raised 5',
        'cleared 6',
      ]);
      assert.deepEqual(explanations(condition, minutely([31, 30])), [
        '31 is above 30',
        '30 is back within 10 to 30',
      ]);
    });

    it('clears at a bound of its own, so that it does not flap', () => {
      const condition: Condition = { kind: 'range', above: 30, clearAbove: 28 };
      assert.deepEqual(changes(condition, minutely([31, 29, 31, 29, 28, 29])), ['raised 0', 'cleared 4']);
    });

    it('waits until a bound has been passed for long enough by the time of the device', () => {
      const condition: Condition = { kind: 'range', above: 30, for: 3 * minute };
      assert.deepEqual(changes(condition, minutely([31, 31, 31, 20, 31, 31, 31, 31, 31])), ['raised 7']);
      assert.deepEqual(explanations(condition, minutely([31, 31, 31, 32])), [
        '32 is above 30, in 4 readings since 2026-03-01T00:00:00.000Z',
      ]);
    });

    it('waits for so many readings in a row', () => {
      assert.deepEqual(changes({ kind: 'range', below: 5, count: 3 }, minutely([1, 1, 9, 1, 1, 1])), [
        'raised 5',
      ]);
    });

    it('does not take a gap for a time in which the bound was passed', () => {
      const [first, second, third] = minutely([31, 31, 31]) as [SeriesReading, SeriesReading, SeriesReading];
      const late = { ...second, timestamp: first.timestamp + 120 * minute };
      const later = { ...third, timestamp: late.timestamp + 30 * minute };
      assert.deepEqual(changes({ kind: 'range', above: 30, for: 20 * minute }, [first, late, later]), [
        'raised 150',
      ]);
      assert.deepEqual(
        changes({ kind: 'range', above: 30, for: 20 * minute, maxGap: 120 * minute }, [first, late]),
        ['raised 120'],
      );
    });
  });

  describe('rate', () => {
    it('raises when a value changes too fast, and explains between which readings', () => {
      const condition: Condition = { kind: 'rate', above: 1, below: -1 };
      assert.deepEqual(changes(condition, minutely([0, 60, 180, 190, 0])), [
        'raised 2',
        'cleared 3',
        'raised 4',
      ]);
      assert.deepEqual(explanations(condition, minutely([0, 120])), [
        'It went from 0 at 2026-03-01T00:00:00.000Z to 120 at 2026-03-01T00:01:00.000Z, 2 a second, which is above 1',
      ]);
    });

    it('takes a drop of a counter for its restart', () => {
      const condition: Condition = { kind: 'rate', below: -1, reset: true };
      assert.deepEqual(changes(condition, minutely([600, 660, 0, 60])), []);
    });
  });

  describe('stuck', () => {
    it('raises when a value has not changed for long enough, and clears when it does', () => {
      const condition: Condition = { kind: 'stuck', for: 3 * minute };
      assert.deepEqual(changes(condition, minutely([1, 2, 2, 2, 2, 2, 3])), ['raised 4', 'cleared 6']);
      assert.deepEqual(explanations(condition, minutely([2, 2, 2, 2, 3])), [
        'It has been 2 for 3 min, in 4 readings since 2026-03-01T00:00:00.000Z',
        'It changed from 2 to 3',
      ]);
    });

    it('takes what differs by at most the tolerance for unchanged', () => {
      const condition: Condition = { kind: 'stuck', for: 2 * minute, tolerance: 0.5 };
      assert.deepEqual(changes(condition, minutely([10, 10.4, 9.6])), ['raised 2']);
      assert.deepEqual(changes({ ...condition, tolerance: 0 }, minutely([10, 10.4, 9.6])), []);
    });
  });

  describe('silent', () => {
    const arrivals = (...minutes: readonly number[]): readonly SeriesReading[] =>
      minutes.map((at) => ({ timestamp: start, receivedAt: start + at * minute, value: 1 }));

    it('raises when nothing arrived for too long, as of when it was due, and clears at the arrival', () => {
      const condition: Condition = { kind: 'silent', for: 5 * minute };
      assert.deepEqual(changes(condition, arrivals(0, 5, 12)), ['raised 10', 'cleared 12']);
      assert.deepEqual(explanations(condition, arrivals(0, 90)), [
        'Nothing came for 5 min: the last reading arrived at 2026-03-01T00:00:00.000Z',
        'A reading came after 1 h 30 min',
      ]);
    });

    it('is found by a clock, once, and not by the arrival that ends it', () => {
      const evaluator = evaluatorOf({ kind: 'silent', for: 5 * minute });
      const [first, second] = arrivals(0, 20);
      assert.deepEqual(evaluator.silentUntil?.(start + 90 * minute), [], 'nothing has come yet');
      assert.ok(first && second);
      evaluator.next(first);
      assert.deepEqual(evaluator.silentUntil?.(start + 5 * minute - 1), []);
      assert.deepEqual(evaluator.next(second), [], 'nobody has looked');
      const [raised] = evaluator.silentUntil?.(start + 26 * minute) ?? [];
      assert.deepEqual([raised?.change, raised?.at], ['raised', start + 25 * minute]);
      assert.deepEqual(evaluator.silentUntil?.(start + 40 * minute), []);
    });

    it('counts from the latest arrival when clocks differ', () => {
      assert.deepEqual(changes({ kind: 'silent', for: 5 * minute }, arrivals(10, 4, 14)), []);
    });
  });

  describe('novel', () => {
    it('raises at a value unlike any before, escalates at a stranger one and clears after 50 usual ones', () => {
      const usual = Array.from({ length: 100 }, (_, i) => i % 10);
      const readings = minutely([...usual, 20, 60, ...usual]);
      assert.deepEqual(changes({ kind: 'novel' }, readings), ['raised 100', 'escalated 101', 'cleared 151']);
      assert.match(
        explanations({ kind: 'novel' }, readings)[0] as string,
        /^20 is [\d.]+ usual ranges away from every value in 100 readings$/,
      );
    });

    it('raises less with a coarser sensitivity', () => {
      const readings = minutely([...Array.from({ length: 100 }, (_, i) => i % 10), 10]);
      assert.deepEqual(changes({ kind: 'novel' }, readings), ['raised 100']);
      assert.deepEqual(changes({ kind: 'novel', sensitivity: 0.2 }, readings), []);
    });
  });

  const conditions: readonly Condition[] = [
    { kind: 'range', above: 3, clearAbove: 2, below: -3, for: 2 * minute, count: 2 },
    { kind: 'rate', above: 0.05, below: -0.05 },
    { kind: 'rate', above: 0.05, reset: true },
    { kind: 'stuck', for: 2 * minute, tolerance: 1 },
    { kind: 'silent', for: 2 * minute },
    { kind: 'novel' },
  ];
  const steps = fc.array(
    fc.record({
      value: fc.integer({ min: -6, max: 6 }),
      gap: fc.integer({ min: 1, max: 4 }),
      delay: fc.integer({ min: 0, max: 3 }),
    }),
    { maxLength: 150 },
  );
  const readingsOf = (made: readonly { value: number; gap: number; delay: number }[]) => {
    let timestamp = start;
    return made.map(({ value, gap, delay }) => {
      timestamp += gap * minute;
      return { timestamp, receivedAt: timestamp + delay * minute, value };
    });
  };

  for (const condition of conditions) {
    const name = JSON.stringify(condition);

    it(`judges the same when the state is saved between any readings: ${name}`, () => {
      fc.assert(
        fc.property(steps, (made) => {
          const readings = readingsOf(made);
          let evaluator = evaluatorOf(condition);
          const transitions = readings.flatMap((reading) => {
            evaluator = evaluatorOf(condition, Float64Array.from(evaluator.save()));
            return next(evaluator, reading);
          });
          assert.deepEqual(transitions, judge(condition, readings));
        }),
      );
    });

    it(`has one alarm open at most, which is raised before it escalates or clears: ${name}`, () => {
      fc.assert(
        fc.property(steps, (made) => {
          let isOpen = false;
          for (const { change } of judge(condition, readingsOf(made))) {
            assert.equal(isOpen, change !== 'raised');
            isOpen = change !== 'cleared';
          }
        }),
      );
    });
  }
});
