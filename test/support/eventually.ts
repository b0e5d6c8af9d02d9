const longest = 60_000;

/** A deadline for something that takes a moment on a quiet machine: in CI servers and two test processes share it. */
export const patience = (within: number): number =>
  process.env.CI ? Math.max(within, Math.min(within * 3, longest)) : within;

/**
 * Runs `assertion` until it stops throwing. After `within` milliseconds its last error is thrown.
 * For what happens soon, but when is not the test's business.
 */
export async function eventually<T>(
  assertion: () => T | Promise<T>,
  { within = 10_000, every = 10 }: { within?: number; every?: number } = {},
): Promise<T> {
  const deadline = Date.now() + patience(within);
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
