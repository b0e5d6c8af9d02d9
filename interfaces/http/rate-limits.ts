import { LRUCache } from 'lru-cache';
import type { SubmittedReading } from '../../application/telemetry/ingest.ts';
import { HttpProblem } from './problems.ts';

/** Each call throws a 429 problem, and spends nothing, when the limit is reached. */
export type RateLimits = {
  /** One request of an API key. */
  spendRequest(key: string): void;
  /** One request with a device's token. */
  spendTokenRequest(deviceId: string): void;
  /** The readings of one request: each counts for its device, and all but one, the request itself, for the key. */
  spendReadings(readings: readonly SubmittedReading[], key: string | undefined): void;
};

/** Requests and readings a second, each where it is given. */
export type RateOptions = {
  readonly perKey?: number | undefined;
  readonly perToken?: number | undefined;
  readonly perDevice?: number | undefined;
  /** For how many seconds' worth a key or a device may come at once after it was silent. */
  readonly burstSeconds: number;
};

/** Keys or devices remembered; one that is forgotten may start anew. */
const remembered = 100_000;

/** Each node counts for itself. `undefined` when nothing is limited. */
export function rateLimits(
  { perKey, perToken, perDevice, burstSeconds }: RateOptions,
  now: () => number = () => performance.now(),
): RateLimits | undefined {
  if ([perKey, perToken, perDevice].every((rate) => rate === undefined)) return undefined;
  const keys = limit('per-key', perKey);
  const tokens = limit('per-token', perToken);
  const devices = limit('per-device', perDevice);

  return {
    spendRequest(key) {
      keys?.check(key);
      keys?.buckets.spend(key, 1);
    },

    spendTokenRequest(deviceId) {
      tokens?.check(deviceId);
      tokens?.buckets.spend(deviceId, 1);
    },

    spendReadings(readings, key) {
      if (devices) {
        const counts = new Map<string, number>();
        for (const { deviceId } of readings) counts.set(deviceId, (counts.get(deviceId) ?? 0) + 1);
        for (const deviceId of counts.keys()) devices.check(deviceId);
        for (const [deviceId, count] of counts) devices.buckets.spend(deviceId, count);
      }
      if (key !== undefined) keys?.buckets.spend(key, readings.length - 1);
    },
  };

  function limit(name: string, rate: number | undefined) {
    if (rate === undefined) return undefined;
    const burst = rate * burstSeconds;
    const buckets = tokenBuckets({ rate, burst, remembered }, now);
    return { buckets, check: (of: string) => refuseEmpty(buckets, name, of, { rate, burst }) };
  }
}

function refuseEmpty(
  buckets: TokenBuckets,
  name: string,
  of: string,
  { rate, burst }: { readonly rate: number; readonly burst: number },
): void {
  const seconds = buckets.secondsToWait(of);
  if (seconds === 0) return;
  throw new HttpProblem('rate-limited', `The limit ${name} of ${rate} a second is reached for ${of}`, {
    members: { limit: { name, of, rate, burst } },
    headers: { 'Retry-After': String(Math.ceil(seconds)) },
  });
}

type TokenBuckets = {
  /** 0 when the name's bucket has a whole token. */
  secondsToWait(name: string): number;
  /**
   * Takes more than there is when it has to: what is too large for any bucket then waits for its turn, and pays by
   * the time the next has to wait, instead of never being let through.
   */
  spend(name: string, amount: number): void;
};

type Bucket = { tokens: number; at: number };

/** Buckets of `burst` tokens, filled at `rate` a second. `now` is in milliseconds. */
function tokenBuckets(
  { rate, burst, remembered }: { readonly rate: number; readonly burst: number; readonly remembered: number },
  now: () => number,
): TokenBuckets {
  // With `max` alone it would take the memory for all of them at once.
  const buckets = new LRUCache<string, Bucket>({ maxSize: remembered, sizeCalculation: () => 1 });

  return {
    secondsToWait(name) {
      const { tokens } = filled(name);
      return tokens >= 1 ? 0 : (1 - tokens) / rate;
    },
    spend(name, amount) {
      filled(name).tokens -= amount;
    },
  };

  function filled(name: string): Bucket {
    const at = now();
    const bucket = buckets.get(name);
    if (bucket) {
      bucket.tokens = Math.min(burst, bucket.tokens + ((at - bucket.at) / 1000) * rate);
      bucket.at = at;
      return bucket;
    }
    const full = { tokens: burst, at };
    buckets.set(name, full);
    return full;
  }
}
