const firstMs = 100;

/**
 * How long to wait, in milliseconds, after so many failures in a row. The whole of it is random: the many clients
 * that a restarted server lost at one moment must not come back at one moment.
 */
export const pauseAfter = (failures: number, longestMs: number): number =>
  Math.random() * Math.min(longestMs, firstMs * 2 ** (failures - 1));
