import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { defaultSensitivity } from '../../../domain/detection/evaluators.ts';
import { NoveltyDetector } from '../../../domain/detection/novelty.ts';
import { falseAlarms, generatedProcesses, judged } from '../../support/generated-series.ts';
import { seeded } from '../../support/seeded.ts';

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
  for (const [name, process] of Object.entries(generatedProcesses))
    it(`raises at most one false alarm in 1,000 values: ${name}`, () => {
      const alarms = falseAlarms(process, 1);
      assert.ok(alarms <= judged / 1000, `${alarms} alarms`);
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

  // Of arithmetic alone, unlike the processes above: nothing here may differ between engines.
  it('says the same of the same values for ever', () => {
    const digest = createHash('sha256');
    const random = seeded(11);
    let walk = 0;
    for (const valueAt of [
      () => random.next() + random.next() + random.next(),
      () => Math.floor(10 * random.next()),
      () => {
        walk += random.next() - 0.5;
        return walk;
      },
      () => 1 / (1.0001 - random.next()),
    ]) {
      const detector = new NoveltyDetector();
      for (let i = 0; i < 10_000; i += 1) digest.update(`${detector.next(valueAt())} `);
      digest.update(Float64Array.from(detector.save()));
    }
    assert.equal(digest.digest('hex'), '8eee4c47c1202a13525ef8b778a80470a71b1d04cec401f053fbdc8ed78eed64');
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
