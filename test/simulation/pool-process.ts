import { type WorldRequest, worldReport } from './pool.ts';
import { runWorld } from './world.ts';

// Users and operators cause thousands of refusals a world. Alone, a world has stacks.
Error.stackTraceLimit = 0;

/** A process of the pool: runs one world after the other, and ends with the process that asks for them. */
process.on('message', async ({ options, lines }: WorldRequest) => {
  process.send?.(worldReport(await runWorld(options), lines));
});
process.on('disconnect', () => process.exit());
