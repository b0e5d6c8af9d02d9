import { type WorldRequest, worldReport } from './pool.ts';
import { runWorld } from './world.ts';

/** A process of the pool: runs one world after the other, and ends with the process that asks for them. */
process.on('message', async ({ options, lines }: WorldRequest) => {
  process.send?.(worldReport(await runWorld(options), lines));
});
process.on('disconnect', () => process.exit());
