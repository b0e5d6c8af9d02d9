import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { comparePositions, type Position } from '../../application/ports/event-source.ts';
import { SqliteSql } from '../../infrastructure/sqlite/database.ts';
import type { Bench } from '../harness/bench.ts';
import { startEventStoreDb } from '../harness/distributed.ts';
import { startPeer } from '../harness/peer.ts';
import { bin, startFieldlog, startProcess, unset } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';
import { type Usage, watchUsage } from '../harness/usage.ts';
import type { SessionPeer } from '../peers/session.ts';

const lookEvery = 20;
const within = 600_000;

/**
 * How fast a server that starts with empty read models consumes the history of an event store, devices and their
 * history both, to a rebuild of devices from the same history. Each from its first commit to its last.
 */
export async function catchUp(bench: Bench): Promise<Row[]> {
  const devices = bench.size(30_000, 3_000);
  const url = await startEventStoreDb(bench);
  const session = bench.keep(startPeer<SessionPeer>('session', 'session.ts'));
  await session.call('open', { EVENTSTORE_URL: url, DATA_DIR: await bench.folder() });
  const last = await session.call('live', { devices, eventsEach: 1 });
  await session.call('close', undefined);

  const values: number[] = [];
  const againstValues: number[] = [];
  let usage: readonly Usage[] = [];
  for (let round = 0; round < bench.options.rounds; round += 1) {
    const folder = await bench.folder();
    const server = await startFieldlog('serve', { EVENTSTORE_URL: url, DATA_DIR: folder });
    const watch = watchUsage(server.role, server.pid);
    values.push(await rateOf(folder, ['devices', 'device_history'], 1, last, devices));
    usage = [watch()];
    await server.end();

    const words = [bin, 'projections', 'rebuild', 'devices', '--json'];
    const env = { ...unset, EVENTSTORE_URL: url, DATA_DIR: folder };
    const rebuild = startProcess('rebuild', process.execPath, words, env);
    againstValues.push(await rateOf(folder, ['devices'], 2, last, devices));
    await rebuild.said(/"switched":true/, within);
    await rebuild.end();
  }
  return [
    {
      figure: `fresh start on ${devices.toLocaleString('en-US')} devices of EventStoreDB`,
      unit: 'events/s',
      values,
      against: { what: 'rebuild of devices', values: againstValues },
      target: { ratioAtLeast: 0.5 },
      usage,
    },
  ];
}

/** Events a second between the first commit and that of the last event, of the slowest projection. */
async function rateOf(
  folder: string,
  projections: readonly string[],
  generation: number,
  last: Position | null,
  events: number,
): Promise<number> {
  const tables = new SqliteSql(path.join(folder, 'read-models.db'), { readOnly: true });
  try {
    let began: number | undefined;
    for (const deadline = performance.now() + within; performance.now() < deadline; await pause(lookEvery)) {
      const rows = await tables.rows<[string, Position]>(
        'SELECT projection, position FROM checkpoints WHERE generation = ? AND position IS NOT NULL',
        [generation],
      );
      const at = new Map(rows);
      const now = performance.now();
      if (projections.some((name) => at.has(name))) began ??= now;
      const isThere = projections.every((name) => comparePositions(at.get(name) ?? null, last) >= 0);
      if (began !== undefined && isThere) return (events * 1000) / (now - began);
    }
    throw new Error(`${projections.join(' and ')} did not come to ${last}`);
  } finally {
    await tables.close();
  }
}
