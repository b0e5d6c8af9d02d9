import type { Clock } from './ports/clock.ts';

/** The time now as ISO 8601, written anew only once in a millisecond. */
export function isoTimes(clock: Clock): () => string {
  let last = Number.NaN;
  let text = '';
  return () => {
    const time = clock.now();
    if (time !== last) {
      last = time;
      text = new Date(time).toISOString();
    }
    return text;
  };
}
