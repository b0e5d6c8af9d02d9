import assert from 'node:assert/strict';
import fc from 'fast-check';
import { defaultSensitivity } from '../../../domain/detection/evaluators.ts';
import { NoveltyDetector } from '../../../domain/detection/novelty.ts';
import { type Seeded, seeded } from '../../support/seeded.ts';

/** The value at each point of a process without any fault. */
type Process = (random: Seeded) => (point: number) => number;

const day = 288;
const daily = (point: number) => Math.sin((2 * Math.PI * point) / day);

const processes: Readonly<Record<string, Process>> = {
  normal: (random) => () => random.normal(),
  Laplace: (random) => () => {
    const u = random.next() - 0.5;
    return -Math.sign(u) * Math.log(1 - 2 * Math.abs(u));
  },
  lognormal: (random) => () => Math.exp(random.normal()),
  'Pareto of exponent 1.5': (random) => () => (1 - random.next()) ** (-1 / 1.5),
  'autoregressive of order 1': (random) => {
    let last = 0;
    return () => {
      last = 0.9 * last + random.normal();
      return last;
    };
  },
  'random walk': (random) => {
    let last = 0;
    return () => {
      last += random.normal();
      return last;
    };
  },
  counter: (random) => {
    let last = 0;
    return () => {
      last += Math.floor(10 * random.next());
      return last;
    };
  },
  'trend and noise': (random) => (point) => point / 1000 + random.normal(),
  daily: (random) => (point) => 20 + 5 * daily(point) + 0.3 * random.normal(),
  'daily and yearly': (random) => (point) =>
    10 + 8 * Math.sin((2 * Math.PI * point) / (365 * day)) + 4 * daily(point) + 0.3 * random.normal(),
  'on and off': (random) => {
    let isOn = false;
    return () => {
      if (random.next() < 0.01) isOn = !isOn;
      return isOn ? 1 : 0;
    };
  },
  constant: () => () => 21.5,
  quantised: (random) => (point) => Math.round(2 * (20 + 5 * daily(point) + 0.3 * random.normal())) / 2,
};

const points = 100_000;
const learnt = 10_000;

/** What is reported of the values, in order; 0 where nothing is. */
const noveltiesOf = (values: readonly number[], detector = new NoveltyDetector()): readonly number[] =>
  values.map((value) => detector.next(value));

const restored = (detector: NoveltyDetector): NoveltyDetector => {
  const saved = Float64Array.from(detector.save());
  const copy = new NoveltyDetector();
  assert.equal(copy.load(saved, 0), saved.length);
  return copy;
};

describe('Value novelty', () => {
  for (const [name, process] of Object.entries(processes))
    it(`raises at most one false alarm in 1,000 values: ${name}`, () => {
      const valueAt = process(seeded(1));
      const detector = new NoveltyDetector();
      let alarms = 0;
      for (let point = 0; point < points; point += 1) {
        const novelty = detector.next(valueAt(point));
        if (point >= learnt && novelty >= defaultSensitivity) alarms += 1;
      }
      assert.ok(alarms <= (points - learnt) / 1000, `${alarms} alarms`);
    });

  /** Values until the alarm after a fault at point 20,000 of a daily course; `undefined` when there is none. */
  function delayOf(fault: (usual: number, after: number, random: Seeded) => number): number | undefined {
    const random = seeded(7);
    const usual = (point: number) => 20 + 5 * daily(point) + 0.3 * random.normal();
    const detector = new NoveltyDetector();
    for (let point = 0; point < 2 * learnt; point += 1) detector.next(usual(point));
    for (let after = 0; after < 3 * day; after += 1)
      if (detector.next(fault(usual(2 * learnt + after), after, random)) >= defaultSensitivity) return after;
    return undefined;
  }

  it('finds a spike at once', () => {
    assert.equal(
      delayOf((usual, after) => usual + (after === 0 ? 10 : 0)),
      0,
    );
  });

  it('finds a shift once it leaves the usual range, within a day', () => {
    const delay = delayOf((usual) => usual + 7.5);
    assert.ok(delay !== undefined && delay < day, `after ${delay}`);
  });

  it('finds more noise', () => {
    const delay = delayOf((usual, _, random) => usual + 1.5 * random.normal());
    assert.ok(delay !== undefined && delay < day, `after ${delay}`);
  });

  it('does not find a sensor stuck at a usual value', () => {
    assert.equal(
      delayOf(() => 21),
      undefined,
    );
  });

  it('says the same when it is saved and restored between any values', () => {
    const values = fc.array(fc.oneof(fc.double({ noNaN: true, min: -1e300, max: 1e300 }), fc.integer()), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 50 }), (numbers, every) => {
        let detector = new NoveltyDetector();
        const novelties = numbers.map((value, i) => {
          if (i % every === 0) detector = restored(detector);
          return detector.next(value);
        });
        assert.deepEqual(novelties, noveltiesOf(numbers));
      }),
    );
  });

  it('is bounded, whatever comes', () => {
    const random = seeded(3);
    const detector = new NoveltyDetector();
    for (let i = 0; i < 20_000; i += 1) detector.next(Math.exp(600 * (random.next() - 0.5)));
    assert.ok(detector.save().length <= 2 + 24 + 2 * (1 + 2 * 64));
    assert.ok(detector.save().every(Number.isFinite));
  });

  it('continues as before after one value that is out of all proportion', () => {
    const random = seeded(5);
    const values = Array.from({ length: 2000 }, () => random.normal());
    const novelties = noveltiesOf([...values.slice(0, 1000), 1e300, ...values.slice(1000)]);
    assert.ok((novelties[1000] as number) > 1);
    assert.deepEqual(
      novelties.slice(1100).filter((novelty) => novelty >= defaultSensitivity),
      [],
    );
  });
});
