import assert from 'node:assert/strict';
import { drawOptions } from './options.ts';
import { runWorld } from './world.ts';

const seeds = 20;
const operations = 40;

/** `npm run simulation` runs as many and as long worlds as are asked for; see docs/simulation.md. */
describe('Simulation', function () {
  this.timeout(60_000);

  for (let seed = 1; seed <= seeds; seed += 1)
    it(`of seed ${seed} breaks no rule`, async () => {
      const { violation } = await runWorld(drawOptions(String(seed), operations));
      assert.equal(violation?.stack, undefined);
    });

  it('is the same for the same seed, byte for byte', async () => {
    const options = drawOptions('7', operations);
    const first = await runWorld(options);
    const second = await runWorld(options);
    assert.ok(first.timeline.lines.length > operations);
    assert.deepEqual(second.timeline.lines, first.timeline.lines);
  });
});
