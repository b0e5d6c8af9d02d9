import assert from 'node:assert/strict';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import '../../../infrastructure/kafka/kafkajs-patches.ts';
import { eventually } from '../../support/eventually.ts';

/** The class as this test makes it; the declaration in infrastructure/ names only what the repair touches. */
const newQueue = (timeouts = {}): RequestQueue & { push(request: unknown): void } =>
  Reflect.construct(RequestQueue, [
    {
      maxInFlightRequests: null,
      requestTimeout: 1000,
      enforceRequestTimeout: false,
      clientId: 'test',
      broker: 'test',
      ...timeouts,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    },
  ]);

describe('The request queue of kafkajs', () => {
  it('arms no timer while nothing is pending', () => {
    const queue = newQueue();
    for (const throttledUntil of [-1, Date.now() + 60_000]) {
      queue.throttledUntil = throttledUntil;
      queue.checkPendingRequests();
      assert.equal(queue.throttleCheckTimeoutId, null);
    }
  });

  it('sends what a throttle held back once that is over, without a negative timeout', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on('warning', note);
    const queue = newQueue();
    try {
      queue.throttledUntil = Date.now() + 50;
      let sentAt = 0;
      queue.push({
        entry: { correlationId: 1 },
        expectResponse: true,
        sendRequest: () => {
          sentAt = Date.now();
        },
      });
      assert.equal(queue.pending.length, 1);
      await eventually(() => assert.ok(sentAt > 0));
      assert.ok(sentAt >= queue.throttledUntil);
      assert.equal(queue.throttleCheckTimeoutId, null);
      assert.deepEqual(warnings, []);
    } finally {
      process.off('warning', note);
      queue.destroy();
    }
  });

  it('rejects what is not answered in time', async () => {
    const queue = newQueue({ requestTimeout: 20, enforceRequestTimeout: true });
    const { promise, resolve, reject } = Promise.withResolvers();
    queue.scheduleRequestTimeoutCheck();
    queue.push({
      entry: { correlationId: 1, apiName: 'Metadata', apiKey: 3, apiVersion: 6, resolve, reject },
      expectResponse: true,
      sendRequest() {},
    });
    await assert.rejects(promise, /timed out/);
    queue.destroy();
  });
});
