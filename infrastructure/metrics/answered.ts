/** What is asked in a scrape is asked in two steps at most; more than a scrape may take would lose all of it. */
const patience = 2000;

/**
 * The answer to something asked while the metrics are read, `undefined` when there is none in time. A metric that
 * cannot be measured has no value then, and the others are told all the same; `fieldlog_dependency_up` says why.
 */
export async function answered<T>(asked: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), patience);
  try {
    return await Promise.race([asked.catch(() => undefined), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
