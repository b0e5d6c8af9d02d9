import type {
  DeadLetterFilter,
  DeadLetters,
  StoredDeadLetter,
} from '../../application/ports/dead-letters.ts';
import type {
  DeadLetter,
  DeadLetterTable,
  Discard,
  GenerationId,
} from '../../application/ports/read-models.ts';
import { deviceStream } from '../../domain/device.ts';
import { tableOf } from './generation-tables.ts';
import { chunks, inChunks, placeholders, type Sql, type SqlValue } from './sql.ts';

type Row = {
  id: number;
  projection: string;
  generation: number;
  part: number;
  position: string;
  stream: string;
  eventId: string;
  eventType: string;
  cause: DeadLetter['cause'];
  error: string;
  correlationId: string;
  parkedAt: number;
  discardedAt: number | null;
  discardedBy: string | null;
  discardReason: string | null;
};
type WholeRow = Row & { stack: string | null; event: string };
type DiscardRow = Pick<Row, 'position' | 'discardedAt' | 'discardedBy' | 'discardReason'>;

const summaryColumns = `d.id, d.projection, d.generation, d.part, d.position, d.stream, d.event_id AS eventId,
  d.event_type AS eventType, d.cause, d.error, d.correlation_id AS correlationId, d.parked_at AS parkedAt,
  d.discarded_at AS discardedAt, d.discarded_by AS discardedBy, d.discard_reason AS discardReason`;
const discardColumns = `position, discarded_at AS discardedAt, discarded_by AS discardedBy,
  discard_reason AS discardReason`;
const ofGeneration = 'projection = ? AND generation = ?';
const active = 'dead_letters d JOIN projections p ON p.name = d.projection AND p.active = d.generation';

/** The dead letters of one generation, inside the transaction that consumes or repairs. */
export function sqlDeadLetterTable(sql: Sql, { projection, generation }: GenerationId): DeadLetterTable {
  const key = [projection, generation];
  const within = (partition: number) => [...key, partition];
  return {
    async parkedStreams(partition, holds = () => true) {
      const rows = await sql.rows<[string, DeadLetter['cause'], string]>(
        `SELECT DISTINCT stream, cause, event_type FROM dead_letters
         WHERE ${ofGeneration} AND part = ? AND discarded_at IS NULL`,
        within(partition),
      );
      return new Set(rows.filter(([, cause, type]) => holds(cause, type)).map(([stream]) => stream));
    },

    park: (deadLetters) =>
      sql.write(
        'insert',
        'dead_letters',
        columns,
        deadLetters.map((deadLetter) => [...key, ...deadLetterValues(deadLetter)]),
      ),

    async waiting(partition, stream, limit, after = 0) {
      const rows = await sql.all<WholeRow>(
        `SELECT ${summaryColumns}, d.stack, d.event FROM dead_letters d
         WHERE ${ofGeneration} AND stream = ? AND part = ? AND discarded_at IS NULL AND d.id > ?
         ORDER BY d.id LIMIT ?`,
        [...key, stream, partition, after, limit],
      );
      return rows.map(wholeLetter);
    },

    async remove(partition, positions) {
      for (const some of chunks(positions))
        await sql.run(
          `DELETE FROM dead_letters WHERE ${ofGeneration} AND part = ? AND position IN (${placeholders(some)})`,
          [...within(partition), ...some],
        );
    },

    async failedAgain({ partition, position, cause, error, stack }) {
      await sql.run(
        `UPDATE dead_letters SET cause = ?, error = ?, stack = ? WHERE ${ofGeneration} AND part = ? AND position = ?`,
        [cause, error, stack, ...within(partition), position],
      );
    },

    async replaceEvent(partition, position, event) {
      await sql.run(`UPDATE dead_letters SET event = ? WHERE ${ofGeneration} AND part = ? AND position = ?`, [
        eventText(event),
        ...within(partition),
        position,
      ]);
    },

    async discard(partition, positions, { at, by, reason }) {
      for (const some of chunks(positions))
        await sql.run(
          `UPDATE dead_letters SET discarded_at = ?, discarded_by = ?, discard_reason = ?
           WHERE ${ofGeneration} AND part = ? AND discarded_at IS NULL AND position IN (${placeholders(some)})`,
          [at, by, reason, ...within(partition), ...some],
        );
    },
  };
}

export function sqlDeadLetters(sql: Sql): DeadLetters {
  return {
    async list(filter, { limit, after = 0 }) {
      const { where, params } = conditions(filter);
      const rows = await sql.all<Row>(
        `SELECT ${summaryColumns} FROM ${active} WHERE ${where} AND d.id > ? ORDER BY d.id LIMIT ?`,
        [...params, after, limit],
      );
      return rows.map(deadLetterSummary);
    },

    async ofGeneration({ projection, generation }, { limit, after = 0 }) {
      const rows = await sql.all<WholeRow>(
        `SELECT ${summaryColumns}, d.stack, d.event FROM dead_letters d
         WHERE ${ofGeneration} AND d.id > ? ORDER BY d.id LIMIT ?`,
        [projection, generation, after, limit],
      );
      return rows.map(wholeLetter);
    },

    async find(id) {
      const [row] = await sql.all<WholeRow>(
        `SELECT ${summaryColumns}, d.stack, d.event FROM dead_letters d WHERE d.id = ?`,
        [id],
      );
      return row && wholeLetter(row);
    },

    async counts() {
      const rows = await sql.all<{
        projection: string;
        cause: DeadLetter['cause'];
        total: number;
        discarded: number;
      }>(
        `SELECT d.projection, d.cause, COUNT(*) AS total, COUNT(d.discarded_at) AS discarded
         FROM ${active} GROUP BY d.projection, d.cause ORDER BY d.projection, d.cause`,
      );
      return rows.map(({ projection, cause, total, discarded }) => ({
        projection,
        cause,
        waiting: total - discarded,
        discarded,
      }));
    },

    async parkedStreams({ projection, generation }, { limit, after = 0 }) {
      const rows = await sql.rows<[number, string, number, number]>(
        `SELECT part, stream, MIN(id), COUNT(*) FROM dead_letters
         WHERE ${ofGeneration} AND discarded_at IS NULL
         GROUP BY part, stream HAVING MIN(id) > ? ORDER BY MIN(id) LIMIT ?`,
        [projection, generation, after, limit],
      );
      return rows.map(([partition, stream, firstId, deadLetters]) => ({
        partition,
        stream,
        firstId,
        deadLetters,
      }));
    },

    async ofRegisteredDevices({ projection, generation }, limit) {
      const [devices] = await sql.rows<[number]>("SELECT active FROM projections WHERE name = 'devices'");
      const rows = await sql.rows<[number, string]>(
        `SELECT DISTINCT d.part, d.stream FROM dead_letters d
         JOIN ${tableOf('devices', devices?.[0] ?? 1)} v ON v.device_id = SUBSTR(d.stream, ${deviceStream('').length + 1})
         WHERE d.projection = ? AND d.generation = ? AND d.cause = 'unknown-device' AND d.discarded_at IS NULL
         LIMIT ?`,
        [projection, generation, limit],
      );
      return rows.map(([partition, stream]) => ({ partition, stream }));
    },

    async byPosition({ projection, generation }, partition, positions) {
      const rows = await inChunks(positions, (some) =>
        sql.all<DiscardRow>(
          `SELECT ${discardColumns} FROM dead_letters
           WHERE ${ofGeneration} AND part = ? AND position IN (${placeholders(some)})`,
          [projection, generation, partition, ...some],
        ),
      );
      return new Map(rows.map((row) => [row.position, discardOf(row)]));
    },

    async discarded({ projection, generation }, partition, stream) {
      const isOfOne = stream !== undefined;
      const rows = await sql.all<DiscardRow>(
        `SELECT ${discardColumns} FROM dead_letters
         WHERE ${ofGeneration} AND part = ? AND discarded_at IS NOT NULL${isOfOne ? ' AND stream = ?' : ''}`,
        [projection, generation, partition, ...(isOfOne ? [stream] : [])],
      );
      return new Map(rows.map((row) => [row.position, discardOf(row) as Discard]));
    },
  };
}

/** Copied, as rows are: where the answer to a commit is lost, it is done again. */
export async function replaceDeadLetters(
  tx: Sql,
  { projection, generation }: GenerationId,
  from: GenerationId,
  stream: string,
): Promise<void> {
  const copied = columns.filter((column) => column !== 'generation').join(', ');
  await tx.run(`DELETE FROM dead_letters WHERE ${ofGeneration} AND stream = ?`, [
    projection,
    generation,
    stream,
  ]);
  await tx.run(
    `INSERT INTO dead_letters (generation, ${copied})
     SELECT ?, ${copied} FROM dead_letters WHERE ${ofGeneration} AND stream = ? ORDER BY id`,
    [generation, from.projection, from.generation, stream],
  );
}

function conditions({ projection, cause, stream, discarded = false }: DeadLetterFilter) {
  const filter = { 'd.projection': projection, 'd.cause': cause, 'd.stream': stream };
  const given = Object.entries(filter).filter((one): one is [string, string] => one[1] !== undefined);
  return {
    where: [
      `d.discarded_at IS ${discarded ? 'NOT NULL' : 'NULL'}`,
      ...given.map(([name]) => `${name} = ?`),
    ].join(' AND '),
    params: given.map(([, value]) => value),
  };
}

const deadLetterSummary = ({ part, discardedAt, discardedBy, discardReason, ...row }: Row) => ({
  ...row,
  partition: part,
  discarded: discardOf({ position: row.position, discardedAt, discardedBy, discardReason }),
});

const wholeLetter = ({ event, ...row }: WholeRow): StoredDeadLetter => ({
  ...deadLetterSummary(row),
  stack: row.stack,
  event: JSON.parse(event),
});

const discardOf = ({ discardedAt, discardedBy, discardReason }: DiscardRow): Discard | null =>
  discardedAt === null ? null : { at: discardedAt, by: discardedBy ?? '', reason: discardReason ?? '' };

const columns = [
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
  'discarded_at',
  'discarded_by',
  'discard_reason',
];

const deadLetterValues = (deadLetter: DeadLetter): readonly SqlValue[] => [
  deadLetter.partition,
  deadLetter.position,
  deadLetter.stream,
  deadLetter.eventId,
  deadLetter.eventType,
  deadLetter.cause,
  deadLetter.error,
  deadLetter.stack,
  deadLetter.correlationId,
  eventText(deadLetter.event),
  deadLetter.parkedAt,
  deadLetter.discarded?.at ?? null,
  deadLetter.discarded?.by ?? null,
  deadLetter.discarded?.reason ?? null,
];

/** Characters and nesting of an event as JSON: what any server takes in one statement, and any reader can write again. */
const longestEvent = 2_097_152;
const deepestEvent = 64;

/**
 * The event as JSON, whatever it is. One that is too long or too deep is stored without its data: no projection can
 * apply it, and the log still has it.
 */
function eventText(event: unknown): string {
  const whole = boundedJson(event);
  if (whole !== undefined) return whole;
  const data = 'left out: longer or nested more deeply than a dead letter can be; the log has it';
  const described = typeof event === 'object' && event !== null ? { ...event, data } : { data };
  return boundedJson(described) ?? JSON.stringify({ data });
}

function boundedJson(event: unknown): string | undefined {
  let text: string;
  try {
    text = JSON.stringify(event);
  } catch {
    // Nested so deeply that the stack does not suffice.
    return undefined;
  }
  return text.length > longestEvent || isDeep(text) ? undefined : text;
}

function isDeep(json: string): boolean {
  let depth = 0;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === '[' || token === '{') depth += 1;
    else if (token === ']' || token === '}') depth -= 1;
    if (depth > deepestEvent) return true;
  }
  return false;
}
