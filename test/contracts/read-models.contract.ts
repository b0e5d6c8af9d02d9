import assert from 'node:assert/strict';
import {
  CheckpointMoved,
  type DeadLetter,
  type LockedCheckpoint,
  type ProjectionTables,
  type ReadModels,
} from '../../application/ports/read-models.ts';
import { addPoint, rollupLevels, rollupWidth } from '../../domain/rollup.ts';
import type { SqlQueries } from '../../infrastructure/sql/sql.ts';
import type { Opened } from './opened.ts';

const device = {
  deviceId: 'a',
  name: 'Ä “quoted”',
  type: 'meter',
  status: 'active',
  labels: { site: 'north' },
  revision: 3,
  registeredAt: '2026-01-01T00:00:00.000Z',
  updatedAt: '2026-01-02T00:00:00.000Z',
} as const;

const reading = (
  timestamp: number,
  metrics: Record<string, number | string | boolean> = { temp: timestamp },
) => ({
  deviceId: 'a',
  timestamp,
  metrics,
  receivedAt: 5,
  correlationId: 'c',
  position: `${timestamp}`,
  correctedBy: null,
});

const deadLetter: DeadLetter = {
  partition: 0,
  position: '7',
  stream: 'device-a',
  eventId: 'e',
  eventType: 'Unheard',
  cause: 'unknown-type',
  error: 'never heard of it',
  stack: null,
  correlationId: 'c',
  event: { any: ['thing'] },
  parkedAt: 1,
  discarded: null,
};

/** What the write side of the read models must do on every engine. `open` gives empty tables of generation 1. */
export function readModelsContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly readModels: ReadModels; readonly sql: SqlQueries }>>,
): void {
  const of = { projection: 'telemetry', generation: 1 };

  describe(`${adapter} honours ReadModels`, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    let readModels: ReadModels;

    beforeEach(async () => {
      opened = await open();
      readModels = opened.readModels;
    });
    afterEach(() => opened.close());

    const using = async <T>(work: (tables: ProjectionTables) => Promise<T>): Promise<T> => {
      let result: T | undefined;
      await readModels.transact(of, 9, async (tables, { position }) => {
        result = await work(tables);
        return position;
      });
      return result as T;
    };

    const ledgerRows = async () =>
      (
        await opened.sql.rows(
          'SELECT device_id, day, stored_count, duplicate, corrected, dead_lettered, late, retracted FROM telemetry_ledger_g1',
        )
      ).map((row) => [...row]);

    describe('a checkpoint', () => {
      it('is none at first, then where the last transaction put it', async () => {
        assert.equal(await readModels.checkpoint(of, 0), null);
        await readModels.transact(of, 0, async (_, locked) => {
          assert.deepEqual({ ...locked }, { position: null, epoch: 0 });
          return '41-2';
        });
        assert.equal(await readModels.checkpoint(of, 0), '41-2');
        await readModels.transact(of, 0, async (_, { position }) => position);
        assert.equal(await readModels.checkpoint(of, 0), '41-2');
      });

      it('keeps how far other events were skipped behind it, until it moves', async () => {
        const to = { position: '90-1', eventId: 'theirs' };
        assert.equal(await readModels.skipped(of, 0), null);
        await readModels.skip(of, 0, null, to);
        assert.deepEqual(await readModels.skipped(of, 0), to);
        assert.equal(await readModels.checkpoint(of, 0), null);
        await readModels.transact(of, 0, async () => '95-1');
        assert.equal(await readModels.skipped(of, 0), null);
        // As a worker does that has not seen the checkpoint move.
        await readModels.skip(of, 0, null, to);
        await readModels.skip(of, 0, '90-1', to);
        assert.equal(await readModels.skipped(of, 0), null);
        await readModels.skip(of, 0, '95-1', { ...to, position: '99-1' });
        await readModels.transact(of, 0, async (_, { position }) => position);
        assert.deepEqual(await readModels.skipped(of, 0), { ...to, position: '99-1' });
        assert.equal(await readModels.checkpoint(of, 0), '95-1');
        assert.equal(await readModels.skipped(of, 1), null);
      });

      it('is one for each partition, generation and projection', async () => {
        await readModels.transact(of, 0, async () => '1');
        assert.equal(await readModels.checkpoint(of, 1), null);
        assert.equal(await readModels.checkpoint({ ...of, generation: 2 }, 0), null);
        assert.equal(await readModels.checkpoint({ ...of, projection: 'devices' }, 0), null);
      });

      it('stays with its rows when the work fails', async () => {
        const failing = readModels.transact(of, 0, async ({ telemetry }) => {
          await telemetry.write({ inserted: [reading(1)] });
          throw new Error('broken');
        });
        await assert.rejects(failing, /broken/);
        assert.equal(await readModels.checkpoint(of, 0), null);
        assert.deepEqual(await using(({ telemetry }) => telemetry.readingsBetween('a', 0, 9)), []);
      });

      it('stays with its rows when one of them cannot be written, and takes the next ones', async () => {
        const twice = readModels.transact(of, 0, async ({ telemetry }) => {
          await telemetry.write({ inserted: [reading(1), reading(1)] });
          return '1';
        });
        await assert.rejects(twice);
        assert.equal(await readModels.checkpoint(of, 0), null);
        await readModels.transact(of, 0, async ({ telemetry }) => {
          await telemetry.write({ inserted: [reading(2)] });
          return '2';
        });
        assert.equal(await readModels.checkpoint(of, 0), '2');
        const rows = await using(({ telemetry }) => telemetry.readingsBetween('a', 0, 9));
        assert.deepEqual(
          rows.map(({ timestamp }) => timestamp),
          [2],
        );
      });

      it('moves for work that was done for where it stands, not for where it was expected', async () => {
        await readModels.transact(of, 0, async () => '5');
        const at = async (expected: LockedCheckpoint, position: string) => {
          let seen: LockedCheckpoint | undefined;
          const work = async ({ telemetry }: ProjectionTables, locked: LockedCheckpoint) => {
            seen = { ...locked };
            await telemetry.write({ inserted: [reading(Number(position))] });
            return position;
          };
          await readModels.transact(of, 0, work, expected).catch((error) => {
            assert.ok(error instanceof CheckpointMoved, error);
            seen = undefined;
          });
          return seen;
        };
        assert.deepEqual(await at({ position: '5', epoch: 0 }, '6'), { position: '5', epoch: 0 });
        for (const other of [
          { position: '5', epoch: 0 },
          { position: '6', epoch: 1 },
        ]) {
          const before = await readModels.checkpoint(of, 0);
          const seen = await at(other, `7${other.epoch}`);
          if (seen) assert.deepEqual(seen, { position: before, epoch: 0 });
          else assert.equal(await readModels.checkpoint(of, 0), before);
        }
        const stored = await using(({ telemetry }) => telemetry.readingsBetween('a', 0, 99));
        const checkpoint = await readModels.checkpoint(of, 0);
        assert.equal(String(stored.at(-1)?.timestamp), checkpoint);
      });

      it('has moved, rather than the work failed, where another worker has written its rows', async () => {
        await readModels.transact(of, 0, async ({ telemetry }) => {
          await telemetry.write({ inserted: [reading(6)] });
          return '6';
        });
        for (const isRead of [true, false]) {
          const late = async ({ telemetry }: ProjectionTables, { position }: LockedCheckpoint) => {
            if (position === '6') return '6';
            await telemetry.write({ inserted: [reading(6)] });
            if (isRead) await telemetry.readingsBetween('a', 0, 9);
            return '6';
          };
          await readModels.transact(of, 0, late, { position: '5', epoch: 0 }).catch((error) => {
            assert.ok(error instanceof CheckpointMoved, error);
          });
        }
        assert.equal(await readModels.checkpoint(of, 0), '6');
      });

      it('is seen by one worker at a time', async () => {
        const seen: (string | null)[] = [];
        const step = () =>
          readModels.transact(of, 0, async (_, { position }) => {
            seen.push(position);
            await new Promise((resolve) => setImmediate(resolve));
            return String(Number(position ?? 0) + 1);
          });
        await Promise.all([step(), step(), step(), step()]);
        assert.deepEqual(new Set(seen), new Set([null, '1', '2', '3']));
        assert.equal(await readModels.checkpoint(of, 0), '4');
      });

      it('stays where it is through a repair, which its epoch tells of', async () => {
        await readModels.transact(of, 0, async () => '5');
        await readModels.repair(of, 0, ({ telemetry }) => telemetry.write({ inserted: [reading(1)] }));
        await readModels.transact(of, 0, async (_, { position, epoch }) => {
          assert.deepEqual([position, epoch], ['5', 1]);
          return position;
        });
      });
    });

    it('keeps devices with their labels, whole rows replacing older ones', async () => {
      const other = { ...device, deviceId: 'A', labels: {} };
      await using(({ devices }) => devices.put([device, other]));
      await using(({ devices }) => devices.put([{ ...device, labels: { floor: '2' } }]));
      const found = await using(({ devices }) => devices.find(['a', 'A', 'missing']));
      assert.deepEqual(
        new Map([...found].map(([id, row]) => [id, { ...row }])),
        new Map([
          ['A', other],
          ['a', { ...device, labels: { floor: '2' } }],
        ]),
      );
    });

    it('gives the readings of a moment, of a range, and the last one with a metric', async () => {
      const rows = [reading(-5), reading(1), reading(2, { hum: 'wet', constructor: true }), reading(3)];
      await using(({ telemetry }) => telemetry.write({ inserted: rows }));
      await using(async ({ telemetry }) => {
        const keys = [
          { deviceId: 'a', timestamp: 3 },
          { deviceId: 'a', timestamp: 4 },
          { deviceId: 'b', timestamp: 1 },
        ];
        assert.deepEqual(
          (await telemetry.readings(keys)).map((row) => ({ ...row })),
          [rows[3]],
        );
        const between = await telemetry.readingsBetween('a', -5, 3);
        assert.deepEqual(
          between.map((row) => ({ ...row })),
          rows.slice(0, 3),
        );
        assert.equal((await telemetry.lastReading('a', 'temp', 3))?.timestamp, 1);
        assert.equal((await telemetry.lastReading('a', 'constructor', 9))?.timestamp, 2);
        assert.equal((await telemetry.lastReading('a', null, 3))?.timestamp, 2);
        assert.equal(await telemetry.lastReading('a', 'hum', 2), undefined);
      });
    });

    it('finds the last reading with a metric by the rollups of days', async () => {
      const width = rollupWidth['1d'];
      const days = (...of: readonly number[]) =>
        of.map((day) => ({
          deviceId: 'a',
          level: '1d' as const,
          bucket: day * width,
          metrics: new Map([['temp', addPoint(undefined, day, 0)]]),
        }));
      const rows = [1, 4, 6].flatMap((day) => [reading(day * width + 5), reading(day * width + 9)]);
      const others = [5, 7].map((day) => reading(day * width, { hum: 1 }));
      await using(({ telemetry }) =>
        telemetry.write({ inserted: [...rows, ...others], rollups: days(1, 4, 6) }),
      );
      const last = (before: number) =>
        using(async ({ telemetry }) => (await telemetry.lastReading('a', 'temp', before))?.timestamp);
      assert.equal(await last(6 * width + 9), 6 * width + 5);
      assert.equal(await last(6 * width + 5), 4 * width + 9);
      assert.equal(await last(4 * width), width + 9);
      assert.equal(await last(8 * width), 6 * width + 9);
      assert.equal(await last(width + 5), undefined);
      // Nothing but those days is looked at.
      await using(({ telemetry }) => telemetry.write({ emptied: days(4) }));
      assert.equal(await last(6 * width + 5), width + 9);
    });

    it('replaces and removes readings', async () => {
      await using(({ telemetry }) => telemetry.write({ inserted: [reading(1), reading(2)] }));
      const corrected = { ...reading(1), metrics: { temp: 7 }, correctedBy: 'later' };
      await using(({ telemetry }) => telemetry.write({ replaced: [corrected], removed: [reading(2)] }));
      const left = await using(({ telemetry }) => telemetry.readingsBetween('a', 0, 9));
      assert.deepEqual(
        left.map((row) => ({ ...row })),
        [corrected],
      );
    });

    it('refuses to insert a reading that is there', async () => {
      await using(({ telemetry }) => telemetry.write({ inserted: [reading(1)] }));
      await assert.rejects(using(({ telemetry }) => telemetry.write({ inserted: [reading(1)] })));
    });

    it('keeps newest values, rollups of each level and the ledger', async () => {
      const stats = {
        ...{ count: 2, numbers: 1, sum: [0.3, 5e-17] as const, min: 0.3, max: 0.3 },
        ...{ first: true, firstAt: 1, last: 0.3, lastAt: 2 },
      };
      const latest = { deviceId: 'a', timestamp: 2, metrics: new Map([['toString', [0.3, 2] as const]]) };
      const rollups = rollupLevels.map((level) => ({
        ...{ deviceId: 'a', level, bucket: -rollupWidth[level] },
        metrics: new Map([['toString', stats]]),
      }));
      const counts = { stored: 1, duplicate: 2, corrected: 3, deadLettered: 4, late: 6, retracted: 5 };
      const ledger = [{ deviceId: 'a', day: 0, ...counts }];
      await using(({ telemetry }) => telemetry.write({ latest: [latest], rollups, ledger }));
      await using(async ({ telemetry }) => {
        assert.deepEqual(await telemetry.latest(['a', 'b']), [latest]);
        assert.deepEqual(await telemetry.rollups(rollups), rollups);
        assert.deepEqual(await telemetry.rollupsBetween('1h', 'a', -rollupWidth['1h'], 0), [rollups[1]]);
        assert.deepEqual(await ledgerRows(), [['a', 0, 1, 2, 3, 4, 6, 5]]);
      });
      await using(({ telemetry }) => telemetry.write({ forgotten: ['a'], emptied: rollups }));
      await using(async ({ telemetry }) => {
        assert.deepEqual(await telemetry.latest(['a']), []);
        assert.deepEqual(await telemetry.rollups(rollups), []);
      });
    });

    it('adds to the ledger what any partition counts', async () => {
      const count = (partition: number, deadLettered: number) =>
        readModels.transact(of, partition, async ({ telemetry }) => {
          const counts = { stored: 1, duplicate: 0, corrected: 0, deadLettered, late: 0, retracted: 0 };
          await telemetry.write({ ledger: [{ deviceId: 'a', day: 0, ...counts }] });
          return '1';
        });
      await count(0, 2);
      await count(1, 5);
      await count(0, -1);
      assert.deepEqual(await ledgerRows(), [['a', 0, 3, 0, 0, 6, 0, 0]]);
    });

    it('knows which streams have dead letters waiting, by partition', async () => {
      await using(({ deadLetters }) => deadLetters.park([deadLetter]));
      await using(async ({ deadLetters }) => {
        assert.deepEqual(await deadLetters.parkedStreams(0), new Set(['device-a']));
        assert.deepEqual(await deadLetters.parkedStreams(1), new Set());
      });
    });
  });
}
