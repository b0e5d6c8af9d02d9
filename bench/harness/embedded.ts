import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { HttpLoad } from '../peers/http-load.ts';
import type { Bench } from './bench.ts';
import { type Peer, startPeer } from './peer.ts';
import { type Process, startFieldlog } from './process.ts';
import { deviceId } from './workload.ts';

export const fleet = 1000;
const registeredAtOnce = 1000;

export type Server = Process & { readonly url: string };

/** `fieldlog serve` with nothing but embedded files in a new folder, and the fleet registered. */
export async function startEmbedded(bench: Bench, devices = fleet): Promise<Server> {
  const server = bench.keep(await startFieldlog('serve', { DATA_DIR: await bench.folder() }));
  await registerFleet(server.url, devices);
  return server;
}

export const startLoad = (bench: Bench): Peer<HttpLoad> =>
  bench.keep(startPeer<HttpLoad>('load', 'http-load.ts'));

export async function registerFleet(url: string, devices = fleet): Promise<void> {
  for (let from = 0; from < devices; from += registeredAtOnce) {
    const some = Array.from({ length: Math.min(registeredAtOnce, devices - from) }, (_, i) => {
      const id = deviceId(from + i);
      return { deviceId: id, name: id, type: 'bench' };
    });
    const answer = await fetch(`${url}/api/v1/devices/bulk`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(some),
    });
    if (!answer.ok) throw new Error(`The fleet was not registered: ${answer.status} ${await answer.text()}`);
    await answer.body?.cancel();
  }
}

/** Resolves once the read models hold all readings sent so far, and sees it after as many milliseconds at most. */
export async function untilProjected(url: string, every = 20): Promise<void> {
  for (;;) {
    if ((await lagOf(url)) === 0) return;
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

/** Readings in the log that the read models do not hold yet. */
export async function lagOf(url: string): Promise<number> {
  const answer = await fetch(`${url}/api/v1/telemetry/latest?limit=1`);
  await answer.arrayBuffer();
  return Number(answer.headers.get('fieldlog-lag'));
}

/** So that everything is projected from the logs again. */
export async function removeReadModels(folder: string): Promise<void> {
  for (const suffix of ['', '-wal', '-shm'])
    await rm(path.join(folder, `read-models.db${suffix}`), { force: true });
}
