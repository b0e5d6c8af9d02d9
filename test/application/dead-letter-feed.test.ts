import assert from 'node:assert/strict';
import { withDeadLetterFeed } from '../../application/dead-letter-feed.ts';
import type { DeadLetter } from '../../application/ports/read-models.ts';
import { eventually } from '../support/eventually.ts';

const letters = (from: number, to: number) =>
  Array.from(
    { length: to - from },
    (_, i) => ({ eventId: String(from + i), correlationId: '' }) as DeadLetter,
  );
const numbers = (to: number) => Array.from({ length: to }, (_, i) => String(i));

describe('Dead letters in a topic', () => {
  let published: string[];
  let underWay: number;
  let mostUnderWay: number;
  let answer: () => Promise<void>;
  let warnings: { readonly fields: object; readonly message: string }[];

  const observer = () => {
    const log = {
      debug() {},
      info() {},
      warn: (fields: object, message: string) => void warnings.push({ fields, message }),
      error() {},
    };
    const feed = {
      async publish({ eventId }: DeadLetter) {
        published.push(eventId);
        underWay += 1;
        mostUnderWay = Math.max(mostUnderWay, underWay);
        await answer().finally(() => {
          underWay -= 1;
        });
      },
    };
    return withDeadLetterFeed({ consumed() {}, failed() {} }, feed, log);
  };

  beforeEach(() => {
    published = [];
    underWay = 0;
    mostUnderWay = 0;
    answer = async () => {};
    warnings = [];
  });

  it('are published in order, a few at a time however many are parked together', async () => {
    const feed = observer();
    feed.consumed([], letters(0, 300), 0);
    feed.consumed([], letters(300, 400), 0);
    await eventually(() => assert.equal(published.length, 400));
    assert.deepEqual(published, numbers(400));
    assert.ok(mostUnderWay > 1 && mostUnderWay <= 16, `${mostUnderWay} at a time`);
    assert.deepEqual(warnings, []);
    await eventually(() => assert.equal(underWay, 0));
    feed.consumed([], letters(400, 401), 0);
    await eventually(() => assert.equal(published.length, 401));
  });

  it('are passed over, each with a line in the log, when it does not take them', async () => {
    answer = () => Promise.reject(new Error('no broker'));
    const feed = observer();
    feed.consumed([], letters(0, 20), 0);
    await eventually(() => assert.equal(warnings.length, 20));
    assert.deepEqual(published, numbers(20));
  });

  it('wait for it in bounded number, and the others are counted in a line', async () => {
    answer = () => new Promise(() => {});
    const feed = observer();
    feed.consumed([], letters(0, 9_000), 0);
    assert.equal(published.length, 16);
    feed.consumed([], letters(9_000, 11_000), 0);
    assert.deepEqual(
      warnings.map(({ fields }) => fields),
      [{ deadLetters: 984 }],
    );
  });
});
