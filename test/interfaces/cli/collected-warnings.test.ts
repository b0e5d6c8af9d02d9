import assert from 'node:assert/strict';
import { warningsText } from '../../../interfaces/cli/collected-warnings.ts';

describe('The warnings of a command', () => {
  it('are a count and a line for each cause, the most frequent first', () => {
    assert.equal(warningsText(new Map()), undefined);
    assert.equal(warningsText(new Map([['a', 1]])), '1 warning:\n  1 × a');
    const two = new Map([
      ['a', 1],
      ['b', 2_000],
    ]);
    assert.equal(warningsText(two), '2,001 warnings:\n  2,000 × b\n  1 × a');
  });

  it('are few lines, however many causes there are', () => {
    const many = new Map(Array.from({ length: 1_000 }, (_, n) => [`device d-${n}`, 2]));
    const lines = warningsText(many)?.split('\n');
    assert.equal(lines?.length, 12);
    assert.equal(lines?.at(0), '2,000 warnings:');
    assert.equal(lines?.at(-1), '  1,980 × 990 other causes');
  });
});
