const longest = 60_000;

/** A deadline for something that takes a moment on a quiet machine: in CI servers and two test processes share it. */
export const patience = (within: number): number =>
  process.env.CI ? Math.max(within, Math.min(within * 3, longest)) : within;

/** Milliseconds between two looks, however long something takes. */
const longestPause = 100;

/**
 * Runs `assertion` until it stops throwing. After `within` milliseconds its last error is thrown.
 * For what happens soon, but when is not the test's business. What takes long is looked at less often, so that other
 * tests have the processor meanwhile.
 */
export async function eventually<T>(
  assertion: () => T | Promise<T>,
  { within = 10_000, every = 10 }: { within?: number; every?: number } = {},
): Promise<T> {
  const began = Date.now();
  const deadline = began + patience(within);
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseAfter(Date.now() - began, every)));
  }
}

const pauseAfter = (elapsed: number, every: number): number =>
  Math.max(every, Math.min(elapsed / 20, longestPause));
