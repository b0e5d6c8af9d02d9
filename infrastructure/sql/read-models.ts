import type { EventPlace, LogMark, PartitionCounts, Position } from '../../application/ports/event-source.ts';
import {
  CheckpointMoved,
  type GenerationId,
  type LockedCheckpoint,
  type ProjectionTables,
  type ReadModels,
} from '../../application/ports/read-models.ts';
import type { Clock } from '../../application/ports/system.ts';
import { sqlProjectionTables } from './device-tables.ts';
import type { Sql, SqlDatabase } from './sql.ts';

type Work = Parameters<ReadModels['transact']>[2];

/** The write side of the read models on either engine, each call a transaction of its own. */
export const sqlReadModels = (db: SqlDatabase, clock: Clock): ReadModels => ({
  checkpoint: (generation, partition) => readCheckpoint(db, generation, partition),
  skipped: (generation, partition) => readSkipped(db, generation, partition),
  skip: (generation, partition, after, to) => storeSkipped(db, generation, partition, after, to, clock.now()),
  logMark: (generation, partition) => readLogMark(db, generation, partition),
  transact: (generation, partition, work, expected) =>
    db.transaction((tx) => consumeInto(tx, generation, partition, work, clock.now(), expected)),
  repair: (generation, partition, work) =>
    db.transaction((tx) => repairIn(tx, generation, partition, work, clock.now())),
});

export const sqlPartitionCounts = (db: SqlDatabase, clock: Clock): PartitionCounts => ({
  async pinned(log, partitions) {
    const find = 'SELECT partitions FROM log_partitions WHERE log_id = ?';
    const [known] = await db.rows<[number]>(find, [log]);
    if (known) return known[0];
    // Another process may be the first.
    await db.run(
      `INSERT ${db.dialect === 'mysql' ? '' : 'OR '}IGNORE INTO log_partitions (log_id, partitions, since) VALUES (?, ?, ?)`,
      [log, partitions, clock.now()],
    );
    const [[first] = [partitions]] = await db.rows<[number]>(find, [log]);
    return first;
  },
});

/**
 * The same inside a transaction that is open already and decides over everything at its own end. What fails is taken
 * back alone; since all share one connection, they take turns.
 */
export function sqlReadModelsWithin(tx: Sql, clock: Clock): ReadModels {
  let lastTurn: Promise<unknown> = Promise.resolve();
  return {
    checkpoint: (generation, partition) => readCheckpoint(tx, generation, partition),
    skipped: (generation, partition) => readSkipped(tx, generation, partition),
    skip: (generation, partition, after, to) =>
      inTurn(() => storeSkipped(tx, generation, partition, after, to, clock.now())),
    logMark: (generation, partition) => readLogMark(tx, generation, partition),
    transact: (generation, partition, work) =>
      inTurn(() => consumeInto(tx, generation, partition, work, clock.now())),
    repair: (generation, partition, work) =>
      inTurn(() => repairIn(tx, generation, partition, work, clock.now())),
  };

  function inTurn(work: () => Promise<void>): Promise<void> {
    const turn = lastTurn.then(async () => {
      await tx.run('SAVEPOINT one_turn');
      try {
        await work();
        await tx.run('RELEASE SAVEPOINT one_turn');
      } catch (error) {
        await tx.run('ROLLBACK TO SAVEPOINT one_turn');
        throw error;
      }
    });
    lastTurn = turn.catch(() => undefined);
    return turn;
  }
}

async function readCheckpoint(
  sql: Sql,
  generation: GenerationId,
  partition: number,
): Promise<Position | null> {
  const [row] = await sql.all<LockedCheckpoint>(
    `SELECT position, epoch FROM checkpoints ${ofPartition}`,
    keyOf(generation, partition),
  );
  return row?.position ?? null;
}

async function readSkipped(
  sql: Sql,
  generation: GenerationId,
  partition: number,
): Promise<EventPlace | null> {
  const [row] = await sql.rows<[string | null, string | null]>(
    `SELECT skipped_to, skipped_event FROM checkpoints ${ofPartition}`,
    keyOf(generation, partition),
  );
  const [position = null, eventId = null] = row ?? [];
  return position === null || eventId === null ? null : { position, eventId };
}

async function storeSkipped(
  sql: Sql,
  generation: GenerationId,
  partition: number,
  after: Position | null,
  { position, eventId }: EventPlace,
  now: number,
): Promise<void> {
  const key = keyOf(generation, partition);
  if (after === null) await makeCheckpoint(sql, key, now);
  const [isThere, at] = after === null ? ['position IS NULL', []] : ['position = ?', [after]];
  await sql.run(`UPDATE checkpoints SET skipped_to = ?, skipped_event = ? ${ofPartition} AND ${isThere}`, [
    position,
    eventId,
    ...key,
    ...at,
  ]);
}

async function readLogMark(sql: Sql, generation: GenerationId, partition: number): Promise<LogMark | null> {
  const [row] = await sql.all<{ [Key in keyof LogMark]: LogMark[Key] | null }>(
    `SELECT position, event_id AS eventId, log_id AS log FROM checkpoints ${ofPartition}`,
    keyOf(generation, partition),
  );
  const { position = null, eventId = null, log = null } = row ?? {};
  return position === null ? null : { position, eventId, log };
}

async function consumeInto(
  tx: Sql,
  generation: GenerationId,
  partition: number,
  work: Work,
  now: number,
  expected?: LockedCheckpoint,
): Promise<void> {
  const locking = lockCheckpoint(tx, generation, partition, now);
  // Looked at after the work.
  locking.catch(() => {});
  // MySQL's driver would send what follows although the lock was lost, and the transaction with it.
  const believed = tx.dialect === 'sqlite' ? expected : undefined;
  const isMoved = ({ position, epoch }: LockedCheckpoint) =>
    believed !== undefined && (position !== believed.position || epoch !== believed.epoch);
  const tables = sqlProjectionTables(tx, generation, partition);
  const consumed = await work(tables, believed ?? (await locking).checkpoint).catch(async (error) => {
    // What another worker has applied already fails here, as a row that is there, and is no event's fault.
    if (!believed || !isMoved((await locking).checkpoint)) throw error;
    throw new CheckpointMoved(`${generation.projection} has been moved in partition ${partition}`, {
      cause: error,
    });
  });
  const { position, eventId, log } =
    typeof consumed === 'object' && consumed !== null
      ? consumed
      : { position: consumed, eventId: null, log: null };
  const { checkpoint: locked, countedEpoch } = await locking;
  if (isMoved(locked))
    throw new CheckpointMoved(
      `Partition ${partition} of ${generation.projection} stands at ${locked.position}`,
    );
  if (position !== locked.position)
    await tx.write(
      'replace',
      'checkpoints',
      [...keyColumns, 'position', 'event_id', 'log_id', 'epoch', 'counted_epoch', 'updated_at'],
      [[...keyOf(generation, partition), position, eventId, log, locked.epoch, countedEpoch, now]],
    );
}

async function repairIn(
  tx: Sql,
  generation: GenerationId,
  partition: number,
  work: (tables: ProjectionTables) => Promise<void>,
  now: number,
): Promise<void> {
  await lockCheckpoint(tx, generation, partition, now);
  await work(sqlProjectionTables(tx, generation, partition));
  await tx.run(`UPDATE checkpoints SET ${nextEpoch} ${ofPartition}`, keyOf(generation, partition));
}

type Locked = { readonly checkpoint: LockedCheckpoint; readonly countedEpoch: number };

async function lockCheckpoint(
  tx: Sql,
  generation: GenerationId,
  partition: number,
  now: number,
): Promise<Locked> {
  const key = keyOf(generation, partition);
  const select = `SELECT position, epoch, COALESCE(counted_epoch, ${neverCounted}) FROM checkpoints
    ${ofPartition}${tx.dialect === 'mysql' ? ' FOR UPDATE' : ''}`;
  const find = () => tx.rows<[Position | null, number, number]>(select, key);
  let [row] = await find();
  if (!row) {
    // Two workers may both find none: the second one's insert waits for the first and then does nothing.
    await makeCheckpoint(tx, key, now);
    [row] = await find();
  }
  if (!row)
    throw new Error(`The checkpoint of ${generation.projection} partition ${partition} cannot be made`);
  const [position, epoch, countedEpoch] = row;
  return { checkpoint: { position, epoch }, countedEpoch };
}

/** Of a partition that a release without totals consumed; no epoch is that. */
const neverCounted = -1;

async function makeCheckpoint(sql: Sql, key: ReturnType<typeof keyOf>, now: number): Promise<void> {
  await sql.run(
    `INSERT ${sql.dialect === 'mysql' ? '' : 'OR '}IGNORE
     INTO checkpoints (projection, generation, part, position, epoch, counted_epoch, updated_at) VALUES (?, ?, ?, NULL, 0, 0, ?)`,
    [...key, now],
  );
}

const ofPartition = 'WHERE projection = ? AND generation = ? AND part = ?';
const keyColumns = ['projection', 'generation', 'part'] as const;
const keyOf = ({ projection, generation }: GenerationId, partition: number) =>
  [projection, generation, partition] as const;

/** Keeps the projectors of a generation out for the rest of the transaction. */
export async function lockCheckpoints(tx: Sql, { projection, generation }: GenerationId): Promise<void> {
  if (tx.dialect === 'mysql')
    await tx.all('SELECT part FROM checkpoints WHERE projection = ? AND generation = ? FOR UPDATE', [
      projection,
      generation,
    ]);
}

/** What has been counted up to the old one is so up to the new one. */
export const nextEpoch = 'epoch = epoch + 1, counted_epoch = counted_epoch + 1';

/** Has its projectors start afresh from the tables. */
export async function bumpEpoch(tx: Sql, { projection, generation }: GenerationId): Promise<void> {
  await tx.run(`UPDATE checkpoints SET ${nextEpoch} WHERE projection = ? AND generation = ?`, [
    projection,
    generation,
  ]);
}
