/**
 * Runs `assertion` until it stops throwing. After `within` milliseconds its last error is thrown.
 * For what happens soon, but when is not the test's business.
 */
export async function eventually<T>(
  assertion: () => T | Promise<T>,
  { within = 10_000, every = 10 }: { within?: number; every?: number } = {},
): Promise<T> {
  const deadline = Date.now() + within;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
