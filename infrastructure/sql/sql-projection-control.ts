import type { Clock } from '../../application/ports/clock.ts';
import type { Position } from '../../application/ports/position.ts';
import {
  type GenerationState,
  type ProjectionControl,
  type ProjectionState,
  RebuildUnderWay,
} from '../../application/ports/projection-control.ts';
import type { Generation } from '../../application/ports/read-models.ts';
import { isProjectionName, type ProjectionName } from '../../application/projections/projection.ts';
import { generationDigest } from './digests.ts';
import { createGeneration, dropGeneration, publishViews } from './schema.ts';
import type { Sql, SqlDatabase } from './sql.ts';
import { sqlReadModelsWithin } from './sql-read-models.ts';

type ProjectionRow = { projection: string; active: number; paused: number };

const stateColumns = `projection, generation, version, status, phase, runner, heard_at AS heardAt,
  created_at AS createdAt`;
const ofGeneration = 'WHERE projection = ? AND generation = ?';

/** The control tables beside the read models, so that a switch and the rows it is about share a transaction. */
export function sqlProjectionControl(db: SqlDatabase, clock: Clock): ProjectionControl {
  return {
    async states() {
      const projections = await db.all<ProjectionRow>(
        'SELECT name AS projection, active, paused FROM projections ORDER BY name',
      );
      const generations = await db.all<GenerationState>(
        `SELECT ${stateColumns} FROM generations ORDER BY projection, generation`,
      );
      return projections.map(
        ({ projection, active, paused }): ProjectionState => ({
          projection,
          active,
          paused: paused !== 0,
          generations: generations.filter((one) => one.projection === projection),
        }),
      );
    },

    setPaused: async (projection, paused) => {
      await db.run('UPDATE projections SET paused = ? WHERE name = ?', [paused ? 1 : 0, projection]);
    },

    claim: async (projection, version, runner, heardSince) => {
      const claimed = await db.transaction(async (tx) => {
        await lockProjection(tx, projection);
        const all = await tx.all<GenerationState>(
          `SELECT ${stateColumns} FROM generations WHERE projection = ? ORDER BY generation`,
          [projection],
        );
        const building = all.find(({ status }) => status === 'building');
        if (building?.runner && building.runner !== runner && (building.heardAt ?? 0) >= heardSince)
          throw new RebuildUnderWay(projection, building.runner);
        const resumes = building?.version === version;
        if (building && !resumes) await setStatus(tx, building, 'retired', null);
        const generation = resumes ? building.generation : Math.max(...all.map((one) => one.generation)) + 1;
        await tx.write(
          'replace',
          'generations',
          ['projection', 'generation', 'version', 'status', 'phase', 'runner', 'heard_at', 'created_at'],
          [
            [
              projection,
              generation,
              version,
              'building',
              'fill',
              runner,
              clock.now(),
              resumes ? building.createdAt : clock.now(),
            ],
          ],
        );
        return { generation, resumed: resumes };
      });
      // Outside, because MySQL commits with every change of a schema; made again it does no harm.
      await createGeneration(db, projectionNamed(projection), claimed.generation);
      return claimed;
    },

    async report({ projection, generation }, runner, phase) {
      const changed = await db.run(
        `UPDATE generations SET phase = ?, heard_at = ? ${ofGeneration} AND runner = ?`,
        [phase, clock.now(), projection, generation, runner],
      );
      if (changed === 0) throw new RebuildUnderWay(projection, 'another runner that took over');
    },

    finish: (of) => setStatus(db, of, 'ready', null),
    reopen: (of, runner) => setStatus(db, of, 'building', runner),

    async drop(of) {
      await db.transaction(async (tx) => {
        const { active } = await lockProjection(tx, of.projection);
        if (active === of.generation)
          throw new Error(`Generation ${of.generation} of ${of.projection} is active and cannot be dropped`);
        for (const table of ['generations', 'checkpoints', 'dead_letters'])
          await tx.run(`DELETE FROM ${table} ${ofGeneration}`, [of.projection, of.generation]);
      });
      await dropGeneration(db, projectionNamed(of.projection), of.generation);
    },

    async hold(of, work) {
      let switched: Generation | undefined;
      await db.transaction(async (tx) => {
        switched = undefined;
        await work({
          checkpoints: await checkpointsOf(tx, of, tx.dialect === 'mysql' ? ' FOR UPDATE' : ''),
          readModels: sqlReadModelsWithin(tx, clock),
          async switchTo(next) {
            await tx.run('UPDATE projections SET active = ? WHERE name = ?', [
              next.generation,
              next.projection,
            ]);
            await setStatus(tx, of, 'retired', null);
            await setStatus(tx, next, 'active', null);
            if (tx.dialect === 'sqlite')
              await publishViews(tx, projectionNamed(next.projection), next.generation);
            switched = next;
          },
        });
      });
      // MySQL would commit with the first view; analysts' views follow the queries' pointer by a moment.
      if (switched && db.dialect === 'mysql')
        await publishViews(db, projectionNamed(switched.projection), switched.generation);
    },

    digests: (generations) =>
      db.snapshot(async (sql) => {
        const digests = [];
        for (const of of generations)
          digests.push({
            ...of,
            checkpoints: await checkpointsOf(sql, of, ''),
            tables: await generationDigest(sql, projectionNamed(of.projection), of.generation),
          });
        return digests;
      }),
  };
}

async function lockProjection(tx: Sql, projection: string): Promise<ProjectionRow> {
  const [row] = await tx.all<ProjectionRow>(
    `SELECT name AS projection, active, paused FROM projections WHERE name = ?${tx.dialect === 'mysql' ? ' FOR UPDATE' : ''}`,
    [projection],
  );
  if (!row) throw new Error(`There is no projection named ${projection}`);
  return row;
}

async function checkpointsOf(sql: Sql, of: Generation, lock: string): Promise<ReadonlyMap<number, Position>> {
  const rows = await sql.all<{ part: number; position: Position | null }>(
    `SELECT part, position FROM checkpoints ${ofGeneration}${lock}`,
    [of.projection, of.generation],
  );
  return new Map(rows.flatMap(({ part, position }) => (position === null ? [] : [[part, position]])));
}

async function setStatus(
  sql: Sql,
  { projection, generation }: Generation,
  status: GenerationState['status'],
  runner: string | null,
): Promise<void> {
  await sql.run(`UPDATE generations SET status = ?, phase = NULL, runner = ? ${ofGeneration}`, [
    status,
    runner,
    projection,
    generation,
  ]);
}

function projectionNamed(name: string): ProjectionName {
  if (!isProjectionName(name)) throw new Error(`There is no projection named ${name}`);
  return name;
}
