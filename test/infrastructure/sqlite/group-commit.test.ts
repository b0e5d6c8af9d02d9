import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { GroupCommit } from '../../../infrastructure/sqlite/event-store.ts';

describe('Group commit', () => {
  let db: DatabaseSync;
  let commits: number;
  let jobs: GroupCommit<number, string>;

  beforeEach(() => {
    db = new DatabaseSync(':memory:');
    db.exec('CREATE TABLE numbers (n INTEGER NOT NULL)');
    const insert = db.prepare('INSERT INTO numbers VALUES (?)');
    commits = 0;
    jobs = new GroupCommit<number, string>(db, {
      perform(n) {
        if (n < 0) return new Error(`${n} is negative`);
        insert.run(Number.isNaN(n) ? null : n);
        return `${n} is stored`;
      },
      assertKept() {},
      committed: () => {
        commits += 1;
      },
      failure: (error) => new Error('Nothing was stored', { cause: error }),
    });
  });
  afterEach(() => db.close());

  const submit = (n: number) => jobs.submit(() => n);
  const stored = () =>
    db
      .prepare('SELECT n FROM numbers')
      .all()
      .map(({ n }) => n);

  it('makes one transaction of what one turn of the event loop brings', async () => {
    const answers = await Promise.all([1, 2, 3].map(submit));
    assert.deepEqual(answers, ['1 is stored', '2 is stored', '3 is stored']);
    assert.equal(commits, 1);
    assert.equal(await submit(4), '4 is stored');
    assert.equal(commits, 2);
  });

  it('refuses a job alone', async () => {
    const outcomes = await Promise.allSettled([1, -2, 3].map(submit));
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.deepEqual(stored(), [1, 3]);
  });

  it('keeps nothing and fails everyone when the transaction fails, and continues', async () => {
    const outcomes = await Promise.allSettled([1, Number.NaN, 3].map(submit));
    for (const outcome of outcomes)
      assert.match(outcome.status === 'rejected' ? outcome.reason.message : '', /Nothing was stored/);
    assert.deepEqual([stored(), commits], [[], 0]);
    await submit(5);
    assert.deepEqual(stored(), [5]);
  });

  it('commits what waits when flushed', async () => {
    const answer = submit(1);
    jobs.flush();
    assert.deepEqual(stored(), [1]);
    assert.equal(await answer, '1 is stored');
  });
});
