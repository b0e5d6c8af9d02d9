import assert from 'node:assert/strict';
import { ReplayRefused } from '../../application/ports/generations.ts';
import { WorkerChannel } from '../../infrastructure/worker-channel.ts';
import type { EchoRequest } from './echo-worker.ts';

describe('WorkerChannel', () => {
  let channel: WorkerChannel<EchoRequest, unknown, string>;
  let notices: string[];

  beforeEach(() => {
    notices = [];
    channel = new WorkerChannel(new URL('./echo-worker.ts', import.meta.url), undefined, {
      errors: [ReplayRefused],
      lost: (cause) => new Error('lost', { cause }),
      onNotice: (notice) => notices.push(notice),
    });
  });
  afterEach(() => channel.close());

  it('resolves each request with its own reply, and delivers notices', async () => {
    const texts = ['a', 'b', 'c'];
    const slow = channel.request({ do: 'until-closed' });
    const replies = texts.map((text) => channel.request({ do: 'echo', text }));
    assert.deepEqual(await Promise.all(replies), texts);
    assert.deepEqual(
      notices,
      texts.map((text) => `heard ${text}`),
    );
    await channel.close();
    assert.equal(await slow, 'closed by the test');
  });

  it('rejects with an error of its class, with message, fields and cause', async () => {
    await assert.rejects(channel.request({ do: 'refuse', message: 'no' }), (error) => {
      assert.ok(error instanceof ReplayRefused);
      assert.deepEqual([error.name, error.message], ['ReplayRefused', 'no']);
      assert.deepEqual(
        [(error.cause as Error).name, (error.cause as Error).message],
        ['TypeError', 'the cause'],
      );
      assert.match(error.stack ?? '', /echo-worker/);
      return true;
    });
  });

  it('rejects with a plain error of that name where the class is not listed', async () => {
    await assert.rejects(channel.request({ do: 'fail' }), (error) => {
      assert.ok(error instanceof Error);
      assert.deepEqual({ ...error }, { name: 'Unlisted', code: 7 });
      return true;
    });
  });

  it('makes the next item of a stream only when this one was consumed', async () => {
    const read: unknown[] = [];
    for await (const item of channel.stream<number>({ do: 'next' }, new AbortController().signal)) {
      read.push(item);
      assert.equal(await channel.request({ do: 'made' }), item);
    }
    assert.deepEqual(read, [1, 2, 3]);
  });

  it('ends a stream with the reason of its signal, even while an item is being made', async () => {
    const stop = new AbortController();
    const reading = channel.stream({ do: 'until-closed' }, stop.signal).next();
    stop.abort(new Error('no longer wanted'));
    await assert.rejects(reading, { message: 'no longer wanted' });
  });

  it('rejects what the thread did not live to answer, and every later request', async () => {
    await assert.rejects(channel.request({ do: 'throw' }), (error) => {
      assert.equal((error as Error).message, 'lost');
      assert.match(String((error as Error).cause), /the thread died/);
      return true;
    });
    assert.ok(channel.hasEnded);
    await assert.rejects(channel.request({ do: 'made' }), { message: 'lost' });
    assert.equal((await channel.exited).message, 'lost');
  });
});
