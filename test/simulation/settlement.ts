import type { AuditReport } from '../../application/operations/audit.ts';
import type { Operations } from '../../application/operations/operations.ts';
import { projectionNames, sourceOf } from '../../application/projections/projection.ts';
import type { RebuildOutcome } from '../../application/rebuild/rebuild.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { collected } from '../support/collected.ts';
import { check } from './book-keeper.ts';
import { retryAll } from './operators.ts';
import {
  checkLatest,
  checkLedger,
  checkPoints,
  checkRollups,
  type LetterSeen,
  pointsOf,
  recompute,
} from './telemetry-book.ts';
import type { World } from './world.ts';

const everything = { from: Number.MIN_SAFE_INTEGER, to: Number.MAX_SAFE_INTEGER };
const day = 86_400_000;

/** Once faults have ended: everything is there within a time, and all sums are right. */
export async function settle(world: World, phase: 'quiet' | 'rebuilt'): Promise<void> {
  world.timeline.add('world', `settles, ${phase}`);
  if (phase === 'quiet') await world.pass(12_000);
  if (phase === 'rebuilt') await rebuildAll(world);
  await resumeAll(world);
  if (world.fleet.isUpgrading)
    await world.until('no process is of an older release', 60_000, async () => {
      world.fleet.keepAlive(0);
      return world.fleet.finishDeployment();
    });
  await world.until('every projection has come to the end of its log', 120_000, () => isCaughtUp(world));
  world.fleet.isUpgrading = false;
  // Late registrations and erasures are looked for every so often.
  await world.pass(11_000);
  await world.until('every projection is at the end of its log', 60_000, () => isCaughtUp(world));
  // Fifty times as long as a look for deleted devices takes, which may have been slow, passes until the next: half an hour at most.
  await world.until('nothing is left of deleted devices', 3_600_000, () => isRemoved(world));
  await checkDevices(world);
  await checkTelemetry(world);
}

/** A command that was to pause one for a while may be gone. */
async function resumeAll(world: World): Promise<void> {
  for (const name of projectionNames) await ask(world, `resume ${name}`, (of) => of.setPaused(name, false));
}

/** An import ends when its readings can be queried, which may want an operator. */
export async function endImports(world: World): Promise<void> {
  if (world.importers.inFlight === 0) return;
  await resumeAll(world);
  await world.until('imports end', 120_000, async () => {
    // Workers of a newer release may have to build what it waits for.
    world.fleet.keepAlive(0);
    await reportsOnceTaken(world);
    return world.importers.inFlight === 0;
  });
}

/** Whether every point of devices whose streams were deleted is. */
async function isRemoved(world: World): Promise<boolean> {
  const { container } = world.anyApi() as NonNullable<ReturnType<World['anyApi']>>;
  const queries = await container.getAsync(s.telemetryQueries);
  for (const deviceId of world.devices.deletedIds) {
    const query = { scope: { deviceId }, range: everything, order: 'asc', limit: 1 } as const;
    if ((await collected(queries.points(query))).length > 0) return false;
  }
  return true;
}

async function ask<T>(
  world: World,
  what: string,
  work: (operations: Operations, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return (await world.during(() => world.operators.run(what, work))) as T;
}

type Reports = Awaited<ReturnType<Operations['list']>>;

/** Of before the operator took what was kept back. */
async function reportsOnceTaken(world: World): Promise<Reports> {
  const reports = (await world.operators.run('status', (of) => of.list())) as Reports;
  for (const report of reports) await takeKeptBack(world, report);
  return reports;
}

async function isCaughtUp(world: World): Promise<boolean> {
  return (await reportsOnceTaken(world)).every(
    (report) => report.lag === 0 && report.refused === null && !report.paused && isOfRelease(report),
  );
}

const isOfRelease = ({ active, generations, codeVersion }: Reports[number]): boolean =>
  generations.some(({ generation, version }) => generation === active && version === codeVersion);

/**
 * What a new release has built with fewer rows waits until an operator takes it, which is right only where a rebuild may
 * have fewer, or has overtaken the generation before; of a device that is gone the latter may have rows yet.
 */
async function takeKeptBack(world: World, report: Reports[number]): Promise<void> {
  const { projection: name, refused, codeVersion, generations } = report;
  if (refused === null) return;
  const isKept = ({ status, version }: (typeof generations)[number]) =>
    status === 'ready' && version === codeVersion;
  // One that a release before has kept back, or that is being built, is not taken: this release's is still to come.
  const isNewer = ({ status }: (typeof generations)[number]) => status === 'building' || status === 'ready';
  const newer = isOfRelease(report) ? [] : generations.filter(isNewer);
  const kept = newer.find(isKept);
  if (!kept) return name === 'detection' && newer.length === 0 ? rebuildUnread(world) : undefined;
  const outcome = kept.outcome?.result === 'kept' ? kept.outcome : undefined;
  const { tables = [], samePosition = false } = outcome?.comparison ?? {};
  const fewer = tables.filter(({ rows }) => rows.next < rows.active).map(({ table }) => table);
  const isOfLostRules = name === 'detection' && world.hasLostEvents;
  check(
    !samePosition || hasGone(world) || isOfLostRules || mayDifferIn(world, fewer),
    () => `the new release has fewer rows of ${name} in ${fewer} without a reason`,
  );
  world.timeline.count('kept back by a new release');
  await ask(world, `take ${name}`, (of, signal) => of.switchTo('ready', name, { signal, handover: 100 }));
}

/**
 * Without rules detection reads nothing: that its log was put back it finds when there is one, or when a new release builds
 * it, and asks for a rebuild then.
 */
async function rebuildUnread(world: World): Promise<void> {
  check(
    world.options.faults.includes('restore'),
    () => 'detection is refused though its log was not put back',
  );
  await ask(world, 'rebuild of detection', (of, signal) =>
    of.rebuild('detection', { signal, handover: 100 }),
  );
}

/** After a backup was put back whole: logs and tables fit, whichever was copied first. */
export async function checkNoneRefused(world: World): Promise<void> {
  for (let second = 0; second < 20; second += 1) {
    const reports = await ask(world, 'status', (of) => of.list());
    for (const { projection, refused } of reports)
      check(refused === null, () => `after a whole restore ${projection} is refused: ${refused}`);
    await world.pass(1000);
  }
}

/** Puts a projection right that does not continue because its log is another one. */
export async function rebuildRefused(world: World): Promise<void> {
  await world.pass(5_000);
  await world.until('every projection continues or says why not', 60_000, async () => {
    const reports = (await world.operators.run('status', (of) => of.list())) as Reports;
    return reports.every(({ lag, refused }) => lag === 0 || refused !== null);
  });
  await checkRefusals(world);
  for (const name of projectionNames) {
    const reports = await ask(world, 'status', (of) => of.list());
    if (reports.find(({ projection }) => projection === name)?.refused === null) continue;
    world.timeline.count(`refused: ${sourceOf(name)}`);
    await ask(world, `rebuild of refused ${name}`, (of, signal) =>
      of.rebuild(name, { signal, handover: 100 }),
    );
  }
}

/** A reason that was given stands until somebody has done something. */
async function checkRefusals(world: World): Promise<void> {
  const refused = new Set<string>();
  for (let second = 0; second < 15; second += 1) {
    for (const { projection, refused: reason } of await ask(world, 'status', (of) => of.list())) {
      check(
        reason !== null || !refused.has(projection),
        () => `${projection} does not say any more why it is refused`,
      );
      if (reason !== null) refused.add(projection);
    }
    await world.pass(1000);
  }
}

/**
 * Known: of a device that is gone, a reading on its way may have been stored and then removed, where a rebuild finds it
 * late. Which duplicates and corrections a log has had whose beginning has expired, nobody can say.
 */
const countsThatDiffer = ['telemetry_ledger', 'telemetry_expired', 'detection_totals'];

const hasGone = ({ devices }: World): boolean =>
  devices.deletedIds.length > 0 || devices.deviceIds.some((id) => devices.state(id)?.status === 'erased');

/** Whether two generations may have other rows in these tables, and nowhere else. */
function mayDifferIn(world: World, tables: readonly string[]): boolean {
  const { hasExpired } = world.servers.telemetryLog;
  // Rows say what corrected them; their values are compared with the book.
  const mayDiffer = new Set([...countsThatDiffer, ...(hasExpired ? ['telemetry'] : [])]);
  return (hasGone(world) || hasExpired) && tables.every((table) => mayDiffer.has(table));
}

async function rebuildAll(world: World): Promise<void> {
  const keepOlder = world.servers.telemetryLog.hasExpired;
  for (const name of projectionNames) {
    // Alarms of what has expired, or of rules that are lost, would be lost with a rebuild.
    if (name === 'detection' && (keepOlder || world.hasLostEvents)) continue;
    const outcome = await ask(world, `rebuild ${name}`, (of, signal) =>
      of.rebuild(name, { signal, handover: 100, keepOlder }),
    );
    check(outcome !== undefined, () => `the rebuild of ${name} failed with everything at rest`);
    const { switched, comparison }: RebuildOutcome = outcome;
    const differ = comparison.tables.filter(({ equal }) => !equal).map(({ table }) => table);
    check(
      (comparison.equal && switched) || mayDifferIn(world, differ),
      () => `a rebuild of ${name} differs in ${differ}`,
    );
    if (!switched)
      await ask(world, `switch ${name}`, (of, signal) =>
        of.switchTo('ready', name, { signal, handover: 100 }),
      );
  }
}

async function checkDevices(world: World): Promise<void> {
  const { container } = world.anyApi() as NonNullable<ReturnType<World['anyApi']>>;
  const queries = await container.getAsync(s.deviceQueries);
  const list = await world.during(() => queries.list({}, { limit: 1000 }));
  const histories = new Map<string, Awaited<ReturnType<typeof queries.history>>>();
  for (const { deviceId } of list)
    histories.set(deviceId, await world.during(() => queries.history(deviceId, { limit: 100_000 })));
  world.devices.settle(list, (deviceId) => histories.get(deviceId) ?? []);
}

async function deadLetters(world: World): Promise<readonly LetterSeen[]> {
  return ask(world, 'dead letters', async (of) => {
    const { active } = (await of.list()).find(({ projection }) => projection === 'telemetry') ?? {
      active: 0,
    };
    return of.deadLetters.ofGeneration({ projection: 'telemetry', generation: active }, { limit: 100_000 });
  });
}

/**
 * What has no reason to wait has to be retried, or never parked, without anybody's help: a minute after a look for
 * registered devices that was slow at the latest.
 */
async function explainDeadLetters(
  world: World,
  isRegistered: (deviceId: string) => boolean | 'once',
): Promise<void> {
  const { partitions, partitionOf } = world.servers.telemetryLog;
  for (const deadline = world.time.elapsed + 70_000; ; await world.pass(5_000)) {
    const parked = await deadLetters(world);
    try {
      recompute(partitions, parked, isRegistered, partitionOf);
      return;
    } catch (error) {
      if (world.time.elapsed >= deadline) throw error;
    }
  }
}

async function checkTelemetry(world: World): Promise<void> {
  const { servers, devices, options } = world;
  const isRegistered = (deviceId: string) =>
    devices.isDeleted(deviceId) ? 'once' : devices.stream(deviceId).length > 0;
  const { partitions, partitionOf } = servers.telemetryLog;
  await explainDeadLetters(world, isRegistered);
  await ask(world, 'retry all', retryAll);
  const parked = await deadLetters(world);
  const report = (await ask(world, 'audit', (of, signal) => of.audit({}, signal))) as AuditReport;
  world.checkAudit(report);
  // With retention the books of what is gone are the audit's alone.
  if (options.retentionDays !== null) return;
  const expected = recompute(partitions, parked, isRegistered, partitionOf);
  const isErased = (deviceId: string) =>
    devices.isDeleted(deviceId) || devices.state(deviceId)?.status === 'erased';
  // What is carried over of what has expired is counted as stored, and the audit leaves these days out.
  if (!servers.telemetryLog.hasExpired) checkLedger(expected, report.entries, isErased);
  const { container } = world.anyApi() as NonNullable<ReturnType<World['anyApi']>>;
  const queries = await container.getAsync(s.telemetryQueries);
  for (const deviceId of new Set([...devices.deviceIds, ...expected.rows.keys()])) {
    const rows = isErased(deviceId) ? undefined : expected.rows.get(deviceId);
    const points = pointsOf(rows ?? new Map());
    const scope = { deviceId };
    const query = { scope, range: everything, order: 'asc', limit: Number.POSITIVE_INFINITY } as const;
    const found = await world.during(() => collected(queries.points(query)));
    checkPoints(deviceId, points, found);
    const latest = await world.during(() => queries.latest(scope, { limit: 10 }));
    checkLatest(deviceId, points, latest[0]?.points ?? []);
    for (const level of ['1m', '1h', '1d'] as const) {
      const slices = await world.during(() => collected(queries.rollups(level, query)));
      checkRollups(deviceId, points, level, slices);
    }
  }
  world.timeline.add(
    'world',
    `${report.totals.accepted} readings, ${parked.length} dead letters, all accounted for`,
  );
}

export const daysOf = (milliseconds: number): number => milliseconds / day;
