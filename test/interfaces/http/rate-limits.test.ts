import assert from 'node:assert/strict';
import { HttpProblem } from '../../../interfaces/http/problems.ts';
import { type RateOptions, rateLimits } from '../../../interfaces/http/rate-limits.ts';

describe('Rate limits', () => {
  let now: number;
  beforeEach(() => {
    now = 0;
  });

  const limits = (options: Partial<RateOptions>) => {
    const made = rateLimits({ burstSeconds: 2, ...options }, () => now);
    assert.ok(made);
    return made;
  };
  const readings = (deviceId: string, count: number) =>
    Array.from({ length: count }, (_, index) => ({ index, deviceId, metrics: { a: 1 } }));
  const refused = (act: () => void): [limit: unknown, retryAfter: string | undefined] => {
    try {
      act();
    } catch (error) {
      assert.ok(error instanceof HttpProblem);
      assert.equal(error.kind, 'rate-limited');
      return [error.extras.members?.limit, error.extras.headers?.['Retry-After']];
    }
    return assert.fail('it was not refused');
  };

  it('are off unless one is given', () => assert.equal(rateLimits({ burstSeconds: 10 }), undefined));

  it('let a key have its burst, then its rate, and say when to come again', () => {
    const { spendRequest } = limits({ perKey: 5 });
    for (let i = 0; i < 10; i += 1) spendRequest('a');
    assert.deepEqual(
      refused(() => spendRequest('a')),
      [{ name: 'per-key', of: 'a', rate: 5, burst: 10 }, '1'],
    );
    spendRequest('b');
    now = 200;
    spendRequest('a');
    refused(() => spendRequest('a'));
    now = 60_000;
    for (let i = 0; i < 10; i += 1) spendRequest('a');
    refused(() => spendRequest('a'));
  });

  it('let a device token have its requests, whatever is in them', () => {
    const { spendTokenRequest, spendReadings } = limits({ perToken: 5 });
    for (let i = 0; i < 10; i += 1) {
      spendTokenRequest('d');
      spendReadings(readings('d', 100), undefined);
    }
    assert.deepEqual(
      refused(() => spendTokenRequest('d')),
      [{ name: 'per-token', of: 'd', rate: 5, burst: 10 }, '1'],
    );
    spendTokenRequest('e');
    now = 200;
    spendTokenRequest('d');
  });

  it('count the readings of a key as its requests', () => {
    const { spendRequest, spendReadings } = limits({ perKey: 5 });
    spendRequest('a');
    spendReadings(readings('d', 31), 'a');
    assert.equal(refused(() => spendRequest('a'))[1], '5');
    now = 4400;
    spendRequest('a');
  });

  it('let a batch larger than the burst through once, and have the next one wait for it', () => {
    const { spendReadings } = limits({ perDevice: 10 });
    spendReadings(readings('d', 5000), undefined);
    assert.deepEqual(
      refused(() => spendReadings(readings('d', 1), undefined)),
      [{ name: 'per-device', of: 'd', rate: 10, burst: 20 }, '499'],
    );
    now = 499_000;
    spendReadings(readings('d', 1), undefined);
  });

  it('spend nothing of any device when one of a batch has to wait', () => {
    const { spendReadings } = limits({ perDevice: 1 });
    spendReadings(readings('busy', 2), undefined);
    for (let i = 0; i < 5; i += 1)
      refused(() => spendReadings([...readings('idle', 1), ...readings('busy', 1)], undefined));
    spendReadings(readings('idle', 2), undefined);
    refused(() => spendReadings(readings('idle', 1), undefined));
  });
});
