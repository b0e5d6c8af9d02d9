import type { WorldOptions } from '../options.ts';

/** A guard of the design, taken away: `find` stands once in `file`. */
export type Mutant = {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** What the worlds are like that come to the place, where others seldom do. */
  readonly worlds?: Partial<WorldOptions>;
};

const mutant = (
  name: string,
  file: string,
  find: string,
  replace: string,
  worlds?: Mutant['worlds'],
): Mutant => ({ name, file, find, replace, ...(worlds && { worlds }) });

const projector = 'application/projector.ts';
const partitionState = 'application/partition-state.ts';
const commands = 'application/devices/device-commands.ts';
const telemetry = 'application/projections/telemetry.ts';
const batch = 'application/projections/telemetry-batch.ts';
const corrections = 'application/projections/telemetry-corrections.ts';
const parking = 'application/parking.ts';
const building = 'application/rebuild/build-consumer.ts';
const readModels = 'infrastructure/sql/read-models.ts';

export const mutants: readonly Mutant[] = [
  mutant(
    'events at or below the checkpoint are applied again',
    projector,
    'comparePositions(event.position, locked.position) > 0;',
    'event !== undefined;',
  ),
  mutant(
    'a checkpoint that moved is not noticed',
    readModels,
    'believed !== undefined && (position !== believed.position || epoch !== believed.epoch)',
    'believed === null',
  ),
  mutant(
    'a repair does not grow the epoch',
    readModels,
    'await work(sqlProjectionTables(tx, generation, partition));\n  await tx.run(',
    'await work(sqlProjectionTables(tx, generation, partition));\n  if (partition < 0) await tx.run(',
  ),
  mutant(
    'caches are trusted whatever the checkpoint',
    partitionState,
    'if (cachedAt && cachedAt.position === locked.position && cachedAt.epoch === locked.epoch) return;',
    'if (cachedAt) return;',
  ),
  mutant(
    'parked streams are forgotten at a restart',
    partitionState,
    'new Set(await tables.deadLetters.parkedStreams(partition, this.#holds))',
    'new Set()',
  ),
  mutant(
    'a reading in a foreign partition is applied',
    telemetry,
    'if (right !== partition) misplaced',
    'if (right === -1) misplaced',
  ),
  mutant(
    'a reading of an unknown device is applied',
    telemetry,
    'else if (unknown.has(deviceId))',
    "else if (deviceId === '')",
  ),
  mutant(
    'no dead letter holds its stream',
    telemetry,
    "!(eventType === 'TelemetryRecorded' && (cause === 'malformed' || cause === 'future'));",
    "cause === undefined && eventType === '';",
  ),
  mutant(
    'parked readings are not counted',
    telemetry,
    'return this.#countDeadLetters(events, 1, telemetry);',
    'return Promise.resolve();',
  ),
  mutant(
    'retried readings stay counted as parked',
    telemetry,
    'return this.#countDeadLetters(events, -1, telemetry);',
    'return Promise.resolve();',
  ),
  mutant(
    'an older reading becomes the newest value',
    batch,
    'if (!newest || timestamp >= newest[1])',
    'if (timestamp !== newest?.[1] || timestamp >= newest[1])',
  ),
  mutant(
    'a correction of the newest value is not seen',
    batch,
    'if (!newest || timestamp >= newest[1])',
    'if (!newest || timestamp > newest[1])',
  ),
  mutant(
    'a corrected value stays in its rollups',
    batch,
    'else if (merged[name] !== value) correct(batch, name, value, timestamp);',
    'else if (merged[name] !== value) updateLatest(batch.device, name, value, timestamp);',
  ),
  mutant(
    'a row of the newest time is not looked up',
    batch,
    'if (timestamp <= lastAt) batch.timesToLookUp',
    'if (timestamp < lastAt) batch.timesToLookUp',
  ),
  mutant(
    "readings without a time take each other's place",
    'application/projections/untimed-readings.ts',
    'await taken.firstFree(data.timestamp);',
    'data.timestamp;',
    { retentionDays: null, clockSkew: 0, apiNodes: 3, hasDoubles: true },
  ),
  mutant(
    'a retraction leaves the cache as it was',
    telemetry,
    '    this.#cache.forget(decoded.event.data.deviceId);\n',
    '',
  ),
  mutant('a retraction leaves the newest value', corrections, 'else left.delete(name);', ''),
  mutant(
    'a retraction leaves the rollups',
    corrections,
    '  await rebuildRollups(deviceId, first.timestamp, last.timestamp + 1, lost, tables);',
    '',
  ),
  mutant(
    'a key is not remembered',
    commands,
    'key === undefined ? ids.uuidV7() : ids.uuidV5(this.stream, actor, key)',
    'ids.uuidV7()',
  ),
  mutant(
    'a key whose command changes nothing leaves no trace',
    commands,
    'decided.length === 0 && !this.isFresh ? unchanged(deviceId, state) : decided;',
    'decided;',
  ),
  mutant(
    'the order of labels makes another request',
    commands,
    'ids.digest(canonicalJson(withoutSecrets(command)))',
    'ids.digest(JSON.stringify(withoutSecrets(command)))',
  ),
  mutant(
    'an expected revision is not compared',
    commands,
    'if (current !== expected) throw new StaleRevision(deviceId, expected, current);',
    '',
  ),
  mutant(
    'times of a stream go back',
    commands,
    'recordedAt: time > before ? time : before,',
    'recordedAt: time,',
  ),
  mutant(
    'a log that was put back is not noticed',
    'application/log-guard.ts',
    'if (difference === undefined) return;',
    'if (difference !== null) return;',
  ),
  mutant(
    'another event at the checkpoint is not noticed',
    'application/log-guard.ts',
    "found !== 'unknown' && eventId !== null && comparableId(found.id) !== eventId",
    "found === 'unknown' && eventId === ''",
    { retentionDays: null, rounds: 3, faults: ['restore'] },
  ),
  mutant(
    'a refusal is withdrawn while nothing continues',
    'interfaces/workers/projector-supervisor.ts',
    'await work(either).finally(() => refusal.ended());',
    'await work(either);',
  ),
  mutant(
    'a log that is read again is counted twice',
    building,
    'visited.get(partition) ?? from.get(partition) ?? null',
    'visited.get(-1) ?? from.get(partition) ?? null',
  ),
  mutant(
    'a late answer takes a build back',
    building,
    'if (comparePositions(before, position) < 0) this',
    'if (comparePositions(before, position) !== 0) this',
    { retentionDays: null, isBusy: true, faults: ['slow'] },
  ),
  mutant(
    'a rebuild applies what was discarded',
    'application/rebuild/dead-letters.ts',
    'discarded: (partition) => deadLetters.discarded(live, partition),',
    'discarded: async () => new Map(),',
  ),
  mutant(
    'a rebuild continues past what was discarded since',
    'application/rebuild/claim.ts',
    '(!isOtherLog && (await hasAppliedDiscarded(live, begun, pipeline, deadLetters, readModels, stream)))',
    'false',
    { workers: 1, devices: 3, retentionDays: null, isBusy: true, faults: ['slow', 'crash'] },
  ),
  mutant(
    'a rebuild retries what was discarded behind a first',
    'application/rebuild/dead-letters.ts',
    'const together = some.map(([position]) => position);',
    'const together = some.slice(0, 1).map(([position]) => position);',
    { operations: 400, devices: 3, rounds: 1, retentionDays: null, isBusy: true, faults: ['poison'] },
  ),
  mutant(
    'a generation that has missed what expired is gone back to',
    'application/rebuild/rebuild.ts',
    'if (await hasMissed(next, pipeline, ports.readModels))',
    'if (false)',
    { retentionDays: null, rounds: 3, isBusy: true, faults: ['expiry'] },
  ),
  mutant(
    'a batch that waits keeps its partition',
    'application/rebuild/build-consumer.ts',
    "batch.signal?.addEventListener('abort', this.#notify);",
    '',
    { partitions: 4, isBusy: true, faults: ['away', 'rebalance'] },
  ),
  mutant(
    'dead letters of a rebuilt device are moved',
    'infrastructure/sql/dead-letters.ts',
    '[generation, from.projection, from.generation, stream],\n  );',
    "[generation, from.projection, from.generation, stream],\n  );\n  await tx.run('DELETE FROM dead_letters WHERE projection = ? AND generation = ? AND stream = ?', [from.projection, from.generation, stream]);",
    { devices: 3, retentionDays: null, isBusy: true, faults: ['transactions', 'poison'] },
  ),
  mutant(
    'newest values go while points are left',
    'infrastructure/sql/erased-devices.ts',
    'AND NOT EXISTS (SELECT 1 FROM',
    "AND NOT EXISTS (SELECT 1 FROM (SELECT '' AS device_id)",
    { retentionDays: null, faults: ['slow', 'stall', 'forget'] },
  ),
  mutant(
    'an audit counts what a deletion removes',
    'application/operations/audit.ts',
    '!entry.isEqual && !gone.has(entry.deviceId)',
    '!entry.isEqual',
    { retentionDays: null, isBusy: true, faults: ['slow', 'deletion', 'forget'] },
  ),
  mutant(
    'a rebuild does not follow retries',
    'application/rebuild/comparison.ts',
    'if (!isOtherLog) await followDeadLetters(live, next, deadLetterRetry, deadLetters, readModels);',
    '',
    { devices: 12, rounds: 1, retentionDays: null, isBusy: true, faults: ['slow'] },
  ),
  mutant(
    'a retry goes past what holds the stream',
    parking,
    'if (retry.holds(failure.cause, first.eventType)) return { stream, applied, failed };',
    '',
    { devices: 3, retentionDays: null, faults: ['poison'] },
  ),
  mutant(
    'what is on its way is a difference of the audit',
    'application/operations/audit.ts',
    'comparePositions(event.position, upTo) > 0 ? 1 : 0',
    'comparePositions(event.position, upTo) > 0 ? 0 : 0',
  ),
  mutant(
    'a wait ends before its position',
    'application/awaited-progress.ts',
    'comparePositions(place.position, awaited.position) >= 0',
    'comparePositions(place.position, awaited.position) >= -1e9',
  ),
  mutant(
    'a lease keeps nobody out',
    'application/ports/generations.ts',
    'runner !== null && runner !== owner.id && !owner.isExpired(runner, heardAt ?? 0);',
    'runner === owner.id && heardAt === -1;',
    { retentionDays: null, isBusy: true, faults: ['slow'] },
  ),
  mutant(
    'an erased device keeps its history',
    'application/projections/devices.ts',
    'if (erased.size > 0) await history.remove([...erased]);',
    '',
  ),
  mutant(
    'an erased device keeps its telemetry',
    'application/retention/sweeper.ts',
    "await sweepErasedEverywhere(control, ports, clock.now, signal, isDue ? 'all' : 'pending');",
    '',
  ),
  mutant(
    'a dropped generation leaves its rows to the next',
    'infrastructure/sql/generations.ts',
    'if (!(await hasBegun(db, projection, claimed.generation)))',
    'if (claimed.generation < 0)',
    { retentionDays: null, isBusy: true, faults: ['crash', 'slow'] },
  ),
  mutant(
    'what is retried behind a sweep stays',
    parking,
    'if (deadLetters.length < size) await retry.atRest?.(stream, tables);',
    '',
    { devices: 12, rounds: 3, retentionDays: 2, faults: ['leap'] },
  ),
];
