/**
 * A sum of doubles without rounding error, as parts that add up to it: the greatest first, each smaller one what
 * the ones before it leave over. One real number has one such form, so the order in which values came, were taken
 * back or were grouped never shows. The first part is the sum as a double.
 * Method: Shewchuk, "Adaptive Precision Floating-Point Arithmetic" (1997), grow-expansion.
 */
export type ExactSum = readonly [number, ...number[]];

export const zero: ExactSum = [0];

/** `sum + value`, as long as neither leaves the range of a double. */
export function addExactly(sum: ExactSum, value: number): ExactSum {
  const [first, second, third] = sum;
  const total = first + value;
  const rest = roundingError(first, value, total);
  if (second === undefined) return rest === 0 ? [total + 0] : [total, rest];
  // Most sums have two parts and stay at two: the remainder joins the second one exactly.
  const left = second + rest;
  if (third !== undefined || roundingError(second, rest, left) !== 0) return normalised(grown(sum, value));
  const joined = total + left;
  const over = roundingError(total, left, joined);
  return over === 0 ? [joined + 0] : [joined, over];
}

export const mergeExactly = (a: ExactSum, b: ExactSum): ExactSum => b.reduce<ExactSum>(addExactly, a);

function roundingError(a: number, b: number, total: number): number {
  const bRounded = total - a;
  return a - (total - bRounded) + (b - bRounded);
}

/** The parts, smallest first and not overlapping, of `sum + value`. */
function grown(sum: readonly number[], value: number): number[] {
  const parts: number[] = [];
  let carry = value;
  for (let i = sum.length - 1; i >= 0; i -= 1) {
    const part = sum[i] as number;
    const total = carry + part;
    const error = roundingError(carry, part, total);
    if (error !== 0) parts.push(error);
    carry = total;
  }
  if (carry !== 0) parts.push(carry);
  return parts;
}

/** Peels off the correctly rounded sum of what is left, again and again, until nothing is left. */
function normalised(smallestFirst: number[]): ExactSum {
  const [...result] = zero;
  let parts = smallestFirst;
  for (let i = 0; parts.length > 0; i += 1) {
    const rounded = roundedSum(parts);
    result[i] = rounded;
    parts = grown(parts.toReversed(), -rounded);
  }
  return result;
}

/** The double nearest to the sum of non-overlapping parts, ties to even as the exact sum would round. */
function roundedSum(parts: readonly number[]): number {
  let i = parts.length - 1;
  let high = parts[i] as number;
  let low = 0;
  while (i > 0) {
    i -= 1;
    const part = parts[i] as number;
    const total = high + part;
    low = part - (total - high);
    high = total;
    if (low !== 0) break;
  }
  const below = parts[i - 1];
  if (i > 0 && below !== undefined && low !== 0 && low < 0 === below < 0) {
    const twice = low * 2;
    const next = high + twice;
    if (twice === next - high) return next;
  }
  return high;
}
