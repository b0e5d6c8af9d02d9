import assert from 'node:assert/strict';
import { projectionNames } from '../../application/projections/projection.ts';
import type { ReadModelFixture } from '../support/read-model-fixture.ts';
import type { Opened } from './opened.ts';

/** What every ProgressQueries must do. */
export function progressQueriesContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly fixture: ReadModelFixture }>>,
): void {
  describe(`${adapter} honours ProgressQueries`, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    let fixture: ReadModelFixture;

    before(async () => {
      opened = await open();
      fixture = opened.fixture;
    });
    let active: number;
    beforeEach(async () => {
      await fixture.empty();
      for (const { projection, generation } of await fixture.progress.progress())
        if (projection === 'telemetry') active = generation;
    });
    after(() => opened?.close());

    const checkpoint = (projection: string, generation: number, part: number, position: string | null) =>
      fixture.db.write(
        'insert',
        'checkpoints',
        ['projection', 'generation', 'part', 'position', 'epoch', 'updated_at'],
        [[projection, generation, part, position, 0, 0]],
      );

    it('tells of every projection, though it has consumed nothing', async () => {
      const progress = await fixture.progress.progress();
      assert.deepEqual(
        progress.map(({ projection, checkpoints }) => [projection, checkpoints]),
        projectionNames.toSorted().map((name) => [name, []]),
      );
    });

    it('tells the checkpoints of the active generation in order of partition', async () => {
      await checkpoint('telemetry', active, 10, '7-1');
      await checkpoint('telemetry', active, 2, '18446744073709551615');
      await checkpoint('telemetry', active, 0, null);
      await checkpoint('telemetry', 99, 3, '5');
      const telemetry = (await fixture.progress.progress()).find(
        ({ projection }) => projection === 'telemetry',
      );
      assert.deepEqual(telemetry?.checkpoints, [
        { partition: 2, position: '18446744073709551615' },
        { partition: 10, position: '7-1' },
      ]);
    });

    it('tells how far they are in the log with what was skipped', async () => {
      const skip = (part: number, position: string | null, to: string) =>
        fixture.db.write(
          'insert',
          'checkpoints',
          [
            'projection',
            'generation',
            'part',
            'position',
            'epoch',
            'updated_at',
            'skipped_to',
            'skipped_event',
          ],
          [['telemetry', active, part, position, 0, 0, to, 'e']],
        );
      await skip(0, '90-90', '100-100');
      await skip(1, null, '7-7');
      const telemetry = (await fixture.progress.progress()).find(
        ({ projection }) => projection === 'telemetry',
      );
      assert.deepEqual(telemetry?.reached, [
        { partition: 0, position: '100-100' },
        { partition: 1, position: '7-7' },
      ]);
      assert.deepEqual(telemetry?.checkpoints, [{ partition: 0, position: '90-90' }]);
    });

    it('counts the dead letters of active generations by projection and cause', async () => {
      const deadLetter = (projection: string, generation: number, position: string, cause: string) =>
        [projection, generation, 0, position, 's', 'e', 't', cause, 'error', null, 'c', '{}', 0] as const;
      await fixture.db.write(
        'insert',
        'dead_letters',
        [
          'projection',
          'generation',
          'part',
          'position',
          'stream',
          'event_id',
          'event_type',
          'cause',
          'error',
          'stack',
          'correlation_id',
          'event',
          'parked_at',
        ],
        [
          deadLetter('telemetry', active, '1', 'malformed'),
          deadLetter('telemetry', active, '2', 'malformed'),
          deadLetter('telemetry', active, '3', 'behind'),
          deadLetter('telemetry', 99, '4', 'behind'),
          deadLetter('devices', 1, '1', 'malformed'),
        ],
      );
      assert.deepEqual(
        (await fixture.progress.deadLetterCounts()).map((count) => ({ ...count })),
        [
          { projection: 'devices', cause: 'malformed', count: 1 },
          { projection: 'telemetry', cause: 'behind', count: 1 },
          { projection: 'telemetry', cause: 'malformed', count: 2 },
        ],
      );
    });

    it('sums the ledger', async () => {
      const nothing = { stored: 0, duplicate: 0, corrected: 0, deadLettered: 0, late: 0, retracted: 0 };
      assert.deepEqual(await fixture.progress.ledgerTotals(), { ...nothing, expired: 0 });
      await fixture.ledgered(
        {
          ...nothing,
          deviceId: 'd-1',
          day: 0,
          stored: 1,
          duplicate: 2,
          corrected: 3,
          deadLettered: 4,
          late: 6,
          retracted: 5,
        },
        { ...nothing, deviceId: 'd-1', day: 86_400_000, stored: 10 },
        { ...nothing, deviceId: 'd-2', day: 0, duplicate: 100 },
      );
      await fixture.expired('d-1', [0, 1]);
      const totals = {
        stored: 11,
        duplicate: 102,
        corrected: 3,
        deadLettered: 4,
        late: 6,
        retracted: 5,
        expired: 2,
      };
      assert.deepEqual(await fixture.progress.ledgerTotals(), totals);
      assert.deepEqual(await fixture.replacedUnderWay().progress.ledgerTotals(), totals);
    });
  });
}
