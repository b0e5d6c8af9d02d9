import type { Position } from '../../application/ports/event-source.ts';
import {
  type BuildOutcome,
  type BuildProgress,
  type GenerationDigest,
  type GenerationState,
  type HeldGeneration,
  isLeasedByAnother,
  type LeaseOwner,
  type ProjectionControl,
  RebuildUnderWay,
  ReplayRefused,
} from '../../application/ports/generations.ts';
import type { GenerationId } from '../../application/ports/read-models.ts';
import type { Clock } from '../../application/ports/system.ts';
import { isProjectionName, type ProjectionName } from '../../application/projections/projection.ts';
import { replaceDeadLetters } from './dead-letters.ts';
import { generationDigest } from './digests.ts';
import { createGeneration, dropGeneration, publishViews, tableOf, tablesOf } from './generation-tables.ts';
import { countingDevice } from './ledger-totals.ts';
import { nextEpoch, sqlReadModelsWithin } from './read-models.ts';
import { placeholders, type Sql, type SqlDatabase, type SqlQueries, type SqlReader } from './sql.ts';

type ProjectionRow = {
  projection: string;
  active: number;
  published: number;
  paused: number;
  refused: string | null;
};
type GenerationRow = Omit<GenerationState, 'progress' | 'outcome'> & {
  progress: string | null;
  outcome: string | null;
};

const projectionColumns = 'name AS projection, active, published, paused, refused';
const stateColumns = `projection, generation, version, status, device, runner, heard_at AS heardAt, progress, outcome,
  created_at AS createdAt, retired_at AS retiredAt`;
const ofGeneration = 'WHERE projection = ? AND generation = ?';

/** The control tables beside the read models, so that a switch and the rows it is about share a transaction. */
export function sqlProjectionControl(db: SqlDatabase, clock: Clock): ProjectionControl {
  return {
    async states() {
      const projections = await db.all<ProjectionRow>(
        `SELECT ${projectionColumns} FROM projections ORDER BY name`,
      );
      const generations = await db.all<GenerationRow>(
        `SELECT ${stateColumns} FROM generations ORDER BY projection, generation`,
      );
      return projections.map(({ projection, active, paused, refused }) => ({
        projection,
        active,
        paused: paused !== 0,
        refused,
        generations: generations.filter((one) => one.projection === projection).map(generationState),
      }));
    },

    async publishViews() {
      const projections = await db.all<ProjectionRow>(`SELECT ${projectionColumns} FROM projections`);
      for (const row of projections) if (row.published !== row.active) await publish(db, row);
    },

    setPaused: async (projection, paused) => {
      await db.run('UPDATE projections SET paused = ? WHERE name = ?', [paused ? 1 : 0, projection]);
    },

    setRefused: async (projection, reason) => {
      await db.run('UPDATE projections SET refused = ? WHERE name = ?', [reason, projection]);
    },

    claim: (wanted, builder) => claim(db, clock, wanted, builder),

    reopen: (generation, builder) =>
      db.transaction(async (tx) => {
        await freeGenerations(tx, generation.projection, builder);
        await acquire(tx, clock, generation, builder);
      }),

    async report({ projection, generation }, runner, progress) {
      const changed = await db.run(
        `UPDATE generations SET progress = ?, heard_at = ? ${ofGeneration} AND runner = ?`,
        [JSON.stringify(progress), clock.now(), projection, generation, runner],
      );
      if (changed === 0) throw new RebuildUnderWay(projection, 'another runner that took over');
    },

    async release({ projection, generation }, runner, outcome, ready) {
      const key = [projection, generation, runner];
      await db.run(`UPDATE generations SET outcome = ?, runner = NULL ${ofGeneration} AND runner = ?`, [
        outcome && JSON.stringify(outcome satisfies BuildOutcome),
        ...key,
      ]);
      if (ready)
        await db.run(`UPDATE generations SET status = 'ready' ${ofGeneration} AND status = 'building'`, [
          projection,
          generation,
        ]);
    },

    drop: (generation, builder) => drop(db, generation, builder),

    async hold(generation, work) {
      await db.transaction(async (tx) => {
        const checkpoints = await checkpointsOf(tx, generation, tx.dialect === 'mysql' ? ' FOR UPDATE' : '');
        await work({
          ...changesWhileHeld(tx, clock, generation),
          checkpoints,
          readModels: sqlReadModelsWithin(tx, clock),
          ...(tx.dialect === 'mysql' && { beginDigests: (other) => beginDigests(db, generation, other) }),
        });
      });
      const [row] = await db.all<ProjectionRow>(
        `SELECT ${projectionColumns} FROM projections WHERE name = ?`,
        [generation.projection],
      );
      // MySQL would commit with the first view; analysts' views follow the queries' pointer by a moment.
      if (row && row.published !== row.active) await publish(db, row);
    },

    async size({ projection, generation }) {
      if (db.dialect === 'mysql') return null;
      const tables = tablesOf(projectionNamed(projection)).map(({ base }) => tableOf(base, generation));
      const [row] = await db.rows<[number | null]>(
        `SELECT SUM(pgsize) FROM dbstat WHERE aggregate = TRUE AND name IN (${placeholders(tables)})`,
        tables,
      );
      return row?.[0] ?? 0;
    },

    digest: (generation) => db.snapshot((sql) => digestOf(sql, generation)),

    digestsIfAligned: (one, other) =>
      db.snapshot(async (sql) => {
        const [a, b] = [await checkpointsOf(sql, one, ''), await checkpointsOf(sql, other, '')];
        const isAligned = a.size === b.size && [...a].every(([part, position]) => b.get(part) === position);
        return isAligned ? ([await digestOf(sql, one), await digestOf(sql, other)] as const) : undefined;
      }),
  };
}

/** The generation that is being built for what is wanted, made anew when there is none; others give way to it. */
async function claim(
  db: SqlDatabase,
  clock: Clock,
  { projection, version, device }: Parameters<ProjectionControl['claim']>[0],
  builder: LeaseOwner,
): ReturnType<ProjectionControl['claim']> {
  const { claimed, superseded } = await db.transaction(async (tx) => {
    const all = await freeGenerations(tx, projection, builder);
    const building = all.filter(({ status }) => status === 'building');
    const same = building.find((one) => one.version === version && one.device === device);
    const superseded = building.filter((one) => one !== same);
    for (const generation of superseded) await forget(tx, generation);
    const generation = same?.generation ?? Math.max(...all.map((one) => one.generation)) + 1;
    if (!same)
      await tx.write(
        'insert',
        'generations',
        ['projection', 'generation', 'version', 'status', 'device', 'created_at'],
        [[projection, generation, version, 'building', device, clock.now()]],
      );
    await acquire(tx, clock, { projection, generation }, builder);
    return { claimed: { generation, resumed: same !== undefined }, superseded };
  });
  // Outside, because MySQL commits with every change of a schema; made again it does no harm.
  for (const { generation } of superseded) await dropGeneration(db, projectionNamed(projection), generation);
  if (superseded.length > 0) await db.reclaim();
  // Whoever dropped one of this number may have ended before its tables were gone.
  if (!(await hasBegun(db, projection, claimed.generation)))
    await dropGeneration(db, projectionNamed(projection), claimed.generation);
  await createGeneration(db, projectionNamed(projection), claimed.generation);
  return claimed;
}

/** Nothing is written into a generation but together with a checkpoint. */
export async function hasBegun(sql: SqlQueries, projection: string, generation: number): Promise<boolean> {
  const [row] = await sql.rows<[number]>(
    'SELECT part FROM checkpoints WHERE projection = ? AND generation = ? LIMIT 1',
    [projection, generation],
  );
  return row !== undefined;
}

async function drop(db: SqlDatabase, generation: GenerationId, builder: LeaseOwner): Promise<void> {
  await db.transaction(async (tx) => {
    const all = await freeGenerations(tx, generation.projection, builder);
    const found = all.find((candidate) => candidate.generation === generation.generation);
    if (!found)
      throw new ReplayRefused(`${generation.projection} has no generation ${generation.generation}`);
    if (found.status === 'active')
      throw new ReplayRefused(
        `Generation ${generation.generation} of ${generation.projection} is the active one: readers use it`,
      );
    await forget(tx, generation);
  });
  await dropGeneration(db, projectionNamed(generation.projection), generation.generation);
  await db.reclaim();
}

async function beginDigests(db: SqlDatabase, one: GenerationId, other: GenerationId) {
  const begun = Promise.withResolvers<void>();
  const digests = db.snapshot(async (sql) => {
    begun.resolve();
    return [await digestOf(sql, one), await digestOf(sql, other)] as const;
  });
  // Whoever holds may end before it looks at them.
  digests.catch(() => {});
  await Promise.race([begun.promise, digests]);
  return { digests };
}

async function publish(db: SqlDatabase, { projection, active }: ProjectionRow): Promise<void> {
  await publishViews(db, projectionNamed(projection), active);
  await db.run('UPDATE projections SET published = ? WHERE name = ?', [active, projection]);
}

function changesWhileHeld(
  tx: Sql,
  clock: Clock,
  generation: GenerationId,
): Pick<HeldGeneration, 'switchTo' | 'adopt'> {
  return {
    async switchTo(next) {
      await tx.run('UPDATE projections SET active = ?, refused = NULL WHERE name = ?', [
        next.generation,
        next.projection,
      ]);
      await tx.run(`UPDATE generations SET status = 'retired', retired_at = ? ${ofGeneration}`, [
        clock.now(),
        generation.projection,
        generation.generation,
      ]);
      await tx.run(`UPDATE generations SET status = 'active', retired_at = NULL ${ofGeneration}`, [
        next.projection,
        next.generation,
      ]);
      if (tx.dialect === 'mysql') return;
      await publishViews(tx, projectionNamed(next.projection), next.generation);
      await tx.run('UPDATE projections SET published = active WHERE name = ?', [next.projection]);
    },

    async adopt(from, deviceId, stream) {
      const replaceRows = async () => {
        for (const { base, columns } of tablesOf(projectionNamed(generation.projection))) {
          const table = tableOf(base, generation.generation);
          await tx.run(`DELETE FROM ${table} WHERE device_id = ?`, [deviceId]);
          await tx.run(
            `INSERT INTO ${table} (${columns.join(', ')}) SELECT ${columns.join(', ')} FROM ${tableOf(base, from.generation)}
             WHERE device_id = ?`,
            [deviceId],
          );
        }
      };
      if (generation.projection === 'telemetry')
        await countingDevice(tx, generation.generation, deviceId, replaceRows);
      else await replaceRows();
      await replaceDeadLetters(tx, generation, from, stream);
      await tx.run(`UPDATE checkpoints SET ${nextEpoch} ${ofGeneration}`, [
        generation.projection,
        generation.generation,
      ]);
    },
  };
}

async function acquire(
  tx: Sql,
  clock: Clock,
  generation: GenerationId,
  { id: runner }: LeaseOwner,
): Promise<void> {
  await tx.run(`UPDATE generations SET runner = ?, heard_at = ?, outcome = NULL ${ofGeneration}`, [
    runner,
    clock.now(),
    generation.projection,
    generation.generation,
  ]);
}

/** Every generation of a projection, locked. Throws `RebuildUnderWay` when another owner builds one of them. */
async function freeGenerations(
  tx: Sql,
  projection: string,
  owner: LeaseOwner,
): Promise<readonly GenerationState[]> {
  const lock = tx.dialect === 'mysql' ? ' FOR UPDATE' : '';
  const [row] = await tx.all(`SELECT name FROM projections WHERE name = ?${lock}`, [projection]);
  if (!row) throw new ReplayRefused(`There is no projection named ${projection}`);
  const rows = await tx.all<GenerationRow>(
    `SELECT ${stateColumns} FROM generations WHERE projection = ? ORDER BY generation`,
    [projection],
  );
  const taken = rows.find((row) => isLeasedByAnother(row, owner));
  if (taken) throw new RebuildUnderWay(projection, String(taken.runner));
  return rows.map(generationState);
}

async function forget(tx: Sql, { projection, generation }: GenerationId): Promise<void> {
  for (const table of ['generations', 'checkpoints', 'dead_letters', 'retention_sweeps'])
    await tx.run(`DELETE FROM ${table} ${ofGeneration}`, [projection, generation]);
  if (projection === 'telemetry')
    await tx.run('DELETE FROM telemetry_totals WHERE generation = ?', [generation]);
}

async function digestOf(sql: SqlReader, generation: GenerationId): Promise<GenerationDigest> {
  return {
    ...generation,
    checkpoints: await checkpointsOf(sql, generation, ''),
    tables: await generationDigest(sql, projectionNamed(generation.projection), generation.generation),
  };
}

async function checkpointsOf(
  sql: SqlQueries,
  generation: GenerationId,
  lock: string,
): Promise<ReadonlyMap<number, Position>> {
  const rows = await sql.all<{ part: number; position: Position | null }>(
    `SELECT part, position FROM checkpoints ${ofGeneration}${lock}`,
    [generation.projection, generation.generation],
  );
  return new Map(rows.flatMap(({ part, position }) => (position === null ? [] : [[part, position]])));
}

const generationState = ({ progress, outcome, ...row }: GenerationRow): GenerationState => ({
  ...row,
  progress: progress === null ? null : (JSON.parse(progress) as BuildProgress),
  outcome: outcome === null ? null : (JSON.parse(outcome) as BuildOutcome),
});

function projectionNamed(name: string): ProjectionName {
  if (!isProjectionName(name)) throw new ReplayRefused(`There is no projection named ${name}`);
  return name;
}
