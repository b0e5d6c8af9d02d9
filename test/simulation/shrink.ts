import type { WorldOptions } from './options.ts';

const mostTries = 40;

/**
 * A shorter world of the same seed that breaks a rule too, if one is found: without kinds of faults, then with fewer
 * operations. `isBroken` runs a world; `options` is known to break one.
 */
export async function shrink(
  options: WorldOptions,
  isBroken: (options: WorldOptions) => Promise<boolean>,
): Promise<WorldOptions> {
  let found = options;
  let tries = 0;
  const attempt = async (smaller: WorldOptions): Promise<boolean> => {
    tries += 1;
    if (tries > mostTries || !(await isBroken(smaller))) return false;
    found = smaller;
    return true;
  };
  for (const kind of options.faults)
    await attempt({ ...found, faults: found.faults.filter((other) => other !== kind) });
  // The shorter world is another one, not the beginning of the longer: each cut is tried until none succeeds.
  for (let part = 0.5; part >= 0.02 && tries < mostTries; ) {
    const operations = Math.floor(found.operations * (1 - part));
    if (operations < found.operations && (await attempt({ ...found, operations }))) continue;
    part /= 2;
  }
  return found;
}
