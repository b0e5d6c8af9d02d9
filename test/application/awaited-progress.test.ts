import assert from 'node:assert/strict';
import { AwaitedProgress, progressTokens } from '../../application/awaited-progress.ts';
import { comparePositions } from '../../application/ports/event-source.ts';
import type { ProjectionProgress } from '../../application/ports/queries.ts';
import { consistencyParameters } from '../../interfaces/http/consistency.ts';

const partitions = 1000;

const progressOf = (projection: string, positions: readonly string[]): ProjectionProgress => {
  const places = positions.map((position, partition) => ({ partition, position }));
  return { projection, generation: 1, version: 1, checkpoints: places, reached: places };
};

describe('What a query waits for', () => {
  let progress: readonly ProjectionProgress[];
  let reads: number;
  let awaited: AwaitedProgress;

  beforeEach(() => {
    progress = [progressOf('telemetry', ['1', '1'])];
    reads = 0;
    awaited = new AwaitedProgress({
      progress: async () => {
        reads += 1;
        return progress;
      },
    });
  });

  const telemetry = (partition: number, position: string) =>
    [{ source: 'telemetry', partition, position }] as const;

  it('is one read for all that wait, and fewer while nothing changes', async () => {
    const waits = Array.from({ length: 50 }, () => awaited.reached(['telemetry'], telemetry(0, '2'), 400));
    assert.deepEqual(new Set(await Promise.all(waits)), new Set([false]));
    // One for each 5 ms and each of them would be 4,000.
    assert.ok(reads < 20, `${reads}`);
  });

  it('is there as soon as it is reached, by all projections asked of', async () => {
    const wait = awaited.reached(['telemetry', 'detection'], telemetry(1, '7'), 5_000);
    progress = [progressOf('telemetry', ['1', '9']), progressOf('detection', ['1', '6'])];
    await new Promise((resolve) => setImmediate(resolve));
    progress = [progressOf('telemetry', ['1', '9']), progressOf('detection', ['1', '7'])];
    assert.equal(await wait, true);
  });

  it('fails for all with the read, and works again afterwards', async () => {
    const broken = new AwaitedProgress({
      progress: async () => {
        if (reads++ === 0) throw new Error('away');
        return progress;
      },
    });
    await assert.rejects(broken.reached(['telemetry'], telemetry(0, '1'), 5_000), /away/);
    assert.equal(await broken.reached(['telemetry'], telemetry(0, '1'), 5_000), true);
  });

  it('fits in a header whatever the number of partitions', () => {
    const largest = Array.from({ length: partitions }, () => '9223372036854775807-99999');
    const header = progressTokens(progressOf('telemetry', largest)).join();
    assert.ok(header.length < 1024, header);
    assert.ok(consistencyParameters.safeParse({ waitFor: header }).success, header);
    assert.deepEqual(progressTokens(progressOf('telemetry', ['4-0', '17'])), [
      'telemetry:0:4-0',
      'telemetry:1:17',
    ]);
  });

  it('is in order by its total, whichever partition advances', () => {
    const rest = Array.from({ length: partitions }, () => '7-0');
    const steps = ['5-3 0 8', '5-4 0 8', '6-0 0 9-0', '6-0 1 9-0', '6-0 1 9-0 0'];
    const totals = steps.map((step) => {
      const [token] = progressTokens(progressOf('telemetry', [...rest, ...step.split(' ')]));
      return token?.split(':')[2] ?? '';
    });
    for (const [i, total] of totals.entries())
      for (const later of totals.slice(i + 1))
        assert.ok(comparePositions(total, later) < 0, `${total} ${later}`);
  });

  it('may be a total, which another projection has to come to in each partition', async () => {
    const [token] = progressTokens(
      progressOf(
        'telemetry',
        Array.from({ length: partitions }, () => '12345'),
      ),
    );
    const [, all, total] = token?.split(':') ?? [];
    assert.equal(all, 'all');
    const asked = [{ projection: 'telemetry', total: total ?? '' }] as const;
    const telemetryAt = (first: string) =>
      progressOf('telemetry', [first, ...Array.from({ length: partitions - 1 }, () => '12345')]);

    progress = [telemetryAt('12344'), progressOf('detection', [])];
    assert.equal(await awaited.reached(['telemetry'], asked, 0), false);
    progress = [telemetryAt('12345'), progressOf('detection', ['99999999'])];
    assert.equal(await awaited.reached(['telemetry'], asked, 0), true);
    assert.equal(await awaited.reached(['detection'], asked, 0), false);
    progress = [telemetryAt('12345'), { ...telemetryAt('12345'), projection: 'detection' }];
    assert.equal(await awaited.reached(['detection'], asked, 0), true);
  });
});
