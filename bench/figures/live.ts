import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from '../harness/bench.ts';
import { registerFleet } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import { type Process, startFieldlog, startProcess } from '../harness/process.ts';
import type { Pending, Row } from '../harness/row.ts';
import { memoryOf } from '../harness/usage.ts';
import type { LiveClientsPeer } from '../peers/live-clients.ts';

const perSecond = 10;

/** How long a server has to come to rest after clients have come. */
const restMilliseconds = 3000;

/** A thousand live streams of ten readings a second: how long from being sent to the client, and what a stream holds. */
export async function live(bench: Bench): Promise<(Row | Pending)[]> {
  const streams = bench.size(1000, 100);
  const seconds = bench.size(10, 2);
  const clients = bench.keep(startPeer<LiveClientsPeer>('clients', 'live-clients.ts'));
  const load = async (url: string) => {
    const { p95, received } = await clients.call('run', { url, devices: streams, seconds, perSecond });
    if (received < streams * perSecond * seconds * 0.9) throw new Error(`only ${received} readings came`);
    return p95;
  };
  const open = (url: string) => clients.call('open', { url, streams });

  const [resting, restingBare] = [await startOwn(bench, streams), await startBare(bench)];
  const [restHeld, restBareHeld] = [await heldAtRest(resting), await heldAtRest(restingBare)];
  await Promise.all([resting.end(), restingBare.end()]);

  const [own, bare] = [await startOwn(bench, streams), await startBare(bench)];
  await open(own.url);
  await open(bare.url);
  const times = await bench.inTurn(
    { run: () => load(own.url), processes: [own, clients] },
    { run: () => load(bare.url), processes: [bare] },
  );

  return [
    {
      figure: `${streams} live streams of ${perSecond} readings/s each: P95 from sent, through durable, to the client`,
      unit: 'ms',
      values: times.values,
      against: { what: 'bare node:http, which stores nothing', values: times.againstValues },
      target: { atMost: 250 },
      usage: times.usage,
    },
    {
      figure: `memory that a live stream holds, as ${streams} of them add it to a server with as many`,
      unit: 'KiB',
      values: [restHeld],
      against: { what: 'bare node:http', values: [restBareHeld] },
      target: { atMost: 30 },
      usage: [],
    },
  ];

  async function heldAtRest({ url, pid }: Server): Promise<number> {
    await open(url);
    await pause(restMilliseconds);
    const before = residentKiB(pid);
    await open(url);
    await pause(restMilliseconds);
    return (residentKiB(pid) - before) / streams;
  }
}

type Server = Process & { readonly url: string };

async function startOwn(bench: Bench, streams: number): Promise<Server> {
  const most = String(2 * streams);
  const env = { DATA_DIR: await bench.folder(), LIVE_STREAMS: most, LIVE_STREAMS_PER_KEY: most };
  const own = bench.keep(await startFieldlog('serve', env));
  await registerFleet(own.url, streams);
  return own;
}

async function startBare(bench: Bench): Promise<Server> {
  const file = path.resolve(import.meta.dirname, '../peers/bare-sse.ts');
  const bare = bench.keep(startProcess('bare SSE', process.execPath, [file]));
  const [url = ''] = await bare.said(/http:\/\/\S+/);
  return { ...bare, url };
}

const residentKiB = (pid: number): number => (memoryOf(pid, 'VmRSS') ?? Number.NaN) * 1024;
