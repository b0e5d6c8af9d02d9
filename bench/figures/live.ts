import path from 'node:path';
import type { Bench } from '../harness/bench.ts';
import { registerFleet } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import { startFieldlog, startProcess } from '../harness/process.ts';
import type { Pending, Row } from '../harness/row.ts';
import { memoryOf } from '../harness/usage.ts';
import type { LiveClientsPeer } from '../peers/live-clients.ts';

const perSecond = 10;

/** A thousand live streams of ten readings a second: how long from being sent to the client, and what a stream holds. */
export async function live(bench: Bench): Promise<(Row | Pending)[]> {
  const streams = bench.size(1000, 100);
  const seconds = bench.size(10, 2);
  const own = bench.keep(
    await startFieldlog('serve', {
      DATA_DIR: await bench.folder(),
      LIVE_STREAMS: String(2 * streams),
      LIVE_STREAMS_PER_KEY: String(2 * streams),
    }),
  );
  await registerFleet(own.url, streams);
  const bare = bench.keep(
    startProcess('bare SSE', process.execPath, [path.resolve(import.meta.dirname, '../peers/bare-sse.ts')]),
  );
  const [bareUrl = ''] = await bare.said(/http:\/\/\S+/);
  const clients = bench.keep(startPeer<LiveClientsPeer>('clients', 'live-clients.ts'));
  const load = (url: string) => clients.call('run', { url, devices: streams, seconds, perSecond });

  const open = (url: string) => clients.call('open', { url, streams });
  await open(own.url);
  await open(bareUrl);
  const times = await bench.inTurn(
    { run: async () => (await load(own.url)).p95, processes: [own, clients] },
    { run: async () => (await load(bareUrl)).p95, processes: [bare] },
  );

  /** KiB that each of as many streams again adds: with the first ones the heap has grown to what the load takes. */
  const held = async (url: string, pid: number) => {
    await load(url);
    const before = memoryOf(pid, 'VmRSS') ?? Number.NaN;
    await open(url);
    await load(url);
    const { received } = await load(url);
    const after = memoryOf(pid, 'VmRSS') ?? Number.NaN;
    if (received < 2 * streams * perSecond * seconds * 0.9) throw new Error(`only ${received} readings came`);
    return ((after - before) * 1024) / streams;
  };
  const [ownHeld, bareHeld] = [await held(own.url, own.pid), await held(bareUrl, bare.pid)];
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
      figure: `memory that each of ${streams} further live streams adds to a server under that load`,
      unit: 'KiB',
      values: [ownHeld],
      against: { what: 'bare node:http', values: [bareHeld] },
      target: { atMost: 30 },
      usage: [],
    },
  ];
}
