/** No engine has infinities for whole numbers. */
export const whole = (time: number): number =>
  Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, time));
