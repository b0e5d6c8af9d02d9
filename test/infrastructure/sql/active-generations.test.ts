import assert from 'node:assert/strict';
import { withActiveGenerations } from '../../../infrastructure/sql/active-generations.ts';
import type { Sql } from '../../../infrastructure/sql/sql.ts';

/** Answers with one generation of `telemetry` after the other. */
function sqlWith(...generations: readonly number[]): Sql {
  const answers = [...generations];
  return { rows: async () => [['telemetry', answers.shift()]] } as unknown as Sql;
}

describe('A query on the active generations', () => {
  it('passes its own failure on', async () => {
    const failing = withActiveGenerations(sqlWith(1, 1), async () => {
      throw new Error('syntax');
    });
    await assert.rejects(failing, /syntax/);
  });

  it('runs again for as long as generations are replaced under it', async () => {
    const tried: number[] = [];
    const answer = await withActiveGenerations(sqlWith(1, 2, 3, 3), async ({ telemetry }) => {
      tried.push(telemetry);
      if (telemetry < 3) throw new Error('no such table');
      return 'found';
    });
    assert.equal(answer, 'found');
    assert.deepEqual(tried, [1, 2, 3]);
  });
});
