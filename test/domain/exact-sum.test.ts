import assert from 'node:assert/strict';
import fc from 'fast-check';
import { addExactly, type ExactSum, mergeExactly, zero } from '../../domain/exact-sum.ts';

const sumOf = (values: readonly number[]): ExactSum => values.reduce<ExactSum>(addExactly, zero);

/** Doubles as whole multiples of 2^-1074, which a BigInt adds without error. */
function inUnits(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = (bits >> 52n) & 0x7ffn;
  const fraction = bits & 0xfffffffffffffn;
  const size = exponent === 0n ? fraction : (fraction | (1n << 52n)) << (exponent - 1n);
  return value < 0 ? -size : size;
}

const values = fc.array(fc.double({ noNaN: true, min: -1e300, max: 1e300 }), { maxLength: 40 });
const everyday = fc.array(
  fc.integer({ min: -4000, max: 4000 }).map((n) => n / 10),
  { maxLength: 200 },
);

describe('Exact sum', () => {
  it('loses nothing', () => {
    fc.assert(
      fc.property(fc.oneof(values, everyday), (numbers) => {
        const exact = numbers.reduce((total, n) => total + inUnits(n), 0n);
        assert.equal(
          sumOf(numbers).reduce((total, part) => total + inUnits(part), 0n),
          exact,
        );
      }),
    );
  });

  it('has one form, whatever the order and grouping', () => {
    fc.assert(
      fc.property(values, fc.nat(), (numbers, cut) => {
        const at = numbers.length === 0 ? 0 : cut % numbers.length;
        const forwards = sumOf(numbers);
        assert.deepEqual(sumOf(numbers.toReversed()), forwards);
        assert.deepEqual(mergeExactly(sumOf(numbers.slice(0, at)), sumOf(numbers.slice(at))), forwards);
      }),
    );
  });

  it('takes back what was added', () => {
    fc.assert(
      fc.property(values, (numbers) => {
        assert.deepEqual(
          numbers.reduce<ExactSum>((sum, n) => addExactly(sum, -n), sumOf(numbers)),
          zero,
        );
      }),
    );
  });

  it('has the nearest double first, the even one of two that are as near', () => {
    const exponent = fc.constantFrom(-60, -2, -1, 0, 1, 2, 51, 52, 53, 54, 55);
    const power = fc.tuple(exponent, fc.constantFrom(1, -1)).map(([n, sign]) => sign * 2 ** n);
    fc.assert(
      fc.property(fc.array(power, { maxLength: 12 }), (numbers) => {
        const exact = numbers.reduce((total, n) => total + BigInt(n * 2 ** 60), 0n);
        assert.equal(sumOf(numbers)[0], Number(exact) / 2 ** 60);
      }),
      { numRuns: 1000 },
    );
    assert.equal(sumOf([2 ** 53, 1])[0], 2 ** 53);
    assert.equal(sumOf([2 ** 53, 1, 2 ** -60])[0], 2 ** 53 + 2);
    assert.equal(sumOf([2 ** 53, 1, -(2 ** -60)])[0], 2 ** 53);
    assert.equal(sumOf([-(2 ** 53), -1, -(2 ** -60)])[0], -(2 ** 53) - 2);
    assert.equal(sumOf([0.1, 0.2, 0.3])[0], 0.6);
    assert.equal(sumOf(Array.from({ length: 10 }, () => 0.1))[0], 1);
    assert.equal(sumOf([1e16, 1, -1e16])[0], 1);
  });
});
