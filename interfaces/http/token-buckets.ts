import { LRUCache } from 'lru-cache';

export type TokenBuckets = {
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
export function tokenBuckets(
  { rate, burst, remembered }: { readonly rate: number; readonly burst: number; readonly remembered: number },
  now: () => number,
): TokenBuckets {
  const buckets = new LRUCache<string, Bucket>({ max: remembered });

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
