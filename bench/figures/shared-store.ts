import { setTimeout as pause } from 'node:timers/promises';
import { EventStoreDBClient, streamNameFilter } from '@eventstore/db-client';
import { deviceStream } from '../../domain/device.ts';
import type { Bench } from '../harness/bench.ts';
import { startStandIn } from '../harness/distributed.ts';
import { registerFleet } from '../harness/embedded.ts';
import { bin, startFieldlog, startProcess, unset } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';

const devices = 50;
/** Each look has the server search, too. */
const lookEvery = 200;
const within = 600_000;
/** A process that follows rules stores where they are at least as often. */
const rememberedWithin = 3_000;

/**
 * What an EventStoreDB that other programs have filled costs who has a few devices in it: the stand-in's, at the speed
 * of a real server.
 */
export async function sharedStore(bench: Bench): Promise<Row[]> {
  const foreignEvents = bench.size(1_000_000, 100_000);
  const statusMs: number[] = [];
  const startMs: number[] = [];
  const rulesMs: number[] = [];
  const rebuildMs: number[] = [];
  const subscriptionMs: number[] = [];
  for (let round = 0; round < bench.options.rounds; round += 1) {
    const standIn = startStandIn(bench);
    const url = await standIn.call('open', undefined);
    const env = { EVENTSTORE_URL: url, DATA_DIR: await bench.folder() };
    const before = bench.keep(await startFieldlog('serve', env));
    await registerFleet(before.url, devices);
    await until(() => isCaughtUp(before.url));
    await createRule(before.url);
    await before.end();
    await standIn.call('share', foreignEvents);

    const began = performance.now();
    const server = bench.keep(await startFieldlog('serve', env));
    statusMs.push(await slowestStatus(server.url));
    await until(async () => (await fetch(`${server.url}/health/ready`)).ok && (await isCaughtUp(server.url)));
    startMs.push(performance.now() - began);
    // It has searched the log for rules by then, and stored where they are.
    await until(() => hasRule(server.url));
    await pause(rememberedWithin);
    await server.end();

    rulesMs.push(await rulesKnown(bench, env));

    rebuildMs.push(await timed(() => rebuildDevices(bench, env)));
    subscriptionMs.push(await timed(() => oneSubscription(url)));
    await standIn.end();
  }
  const beside = `beside ${foreignEvents.toLocaleString('en-US')} events of other programs`;
  return [
    { figure: `status ${beside}`, unit: 'ms', values: statusMs, target: { atMost: 200 }, usage: [] },
    {
      figure: `start ${beside}: ready and caught up`,
      unit: 'ms',
      values: startMs,
      target: { atMost: 5_000 },
      usage: [],
    },
    {
      figure: `start ${beside}: rules known again`,
      unit: 'ms',
      values: rulesMs,
      target: { atMost: 5_000 },
      usage: [],
    },
    {
      figure: `rebuild of ${devices} devices ${beside}`,
      unit: 'ms',
      values: rebuildMs,
      against: { what: 'one filtered subscription', values: subscriptionMs },
      target: { ratioAtMost: 1.3 },
      usage: [],
    },
  ];
}

async function slowestStatus(url: string): Promise<number> {
  let slowest = 0;
  for (let n = 0; n < 5; n += 1)
    slowest = Math.max(slowest, await timed(async () => (await fetch(`${url}/api/v1/status`)).json()));
  return slowest;
}

async function rulesKnown(bench: Bench, env: Readonly<Record<string, string>>): Promise<number> {
  const began = performance.now();
  const again = bench.keep(await startFieldlog('serve', env));
  await until(() => hasRule(again.url));
  const took = performance.now() - began;
  await again.end();
  return took;
}

async function createRule(url: string): Promise<void> {
  const rule = { name: 'Hot', kind: 'range', metric: 'temp', above: 30 };
  const { ok } = await fetch(`${url}/api/v1/rules`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(rule),
  });
  if (!ok) throw new Error('The rule was not created');
}

async function hasRule(url: string): Promise<boolean> {
  const { rules } = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
    readonly rules: readonly unknown[];
  };
  return rules.length === 1;
}

type Status = {
  readonly projections: readonly {
    readonly projection: string;
    readonly lag: number | null;
    readonly lagIsAtLeast: boolean;
  }[];
};

async function isCaughtUp(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/api/v1/status`);
  const { projections } = (await answer.json()) as Status;
  return projections
    .filter(({ projection }) => projection.startsWith('device'))
    .every(({ lag, lagIsAtLeast }) => lag === 0 && !lagIsAtLeast);
}

/** With all that the command does, its start included. */
async function rebuildDevices(bench: Bench, env: Readonly<Record<string, string>>): Promise<void> {
  const words = [bin, 'projections', 'rebuild', 'devices', '--json'];
  const rebuild = bench.keep(startProcess('rebuild', process.execPath, words, { ...unset, ...env }));
  await rebuild.said(/"switched":true/, within);
}

/** Everything of ours from the start of the log to its end. */
async function oneSubscription(url: string): Promise<void> {
  const client = EventStoreDBClient.connectionString(url);
  const filter = streamNameFilter({ prefixes: [deviceStream('')] });
  const subscription = client.subscribeToAll({ filter });
  await new Promise<void>((resolve, reject) => {
    subscription.on('data', () => undefined);
    subscription.once('caughtUp', resolve);
    subscription.once('error', reject);
  });
  await subscription.unsubscribe();
  await client.dispose();
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + within; performance.now() < deadline; await pause(lookEvery))
    if (await isSo()) return;
  throw new Error('The server did not catch up');
}
