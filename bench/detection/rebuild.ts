import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { rebuild } from '../../application/rebuild/rebuild.ts';
import { configFrom } from '../../infrastructure/config/config.ts';
import { pinoLog } from '../../infrastructure/pino-log.ts';
import { openContainer } from '../../interfaces/composition/container.ts';
import { pipelineOf, replayPorts, supervisedProjections } from '../../interfaces/composition/projectors.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { superviseProjectors } from '../../interfaces/workers/projector-supervisor.ts';

const context = { correlationId: 'bench', actor: 'bench' };
const log = pinoLog('warn', 'bench');
const devices = 100;
const perRequest = 1000;
const readings = 1_000_000;

/** Detects in a million readings, of which some are extraordinary, and again in a rebuild; prints what both found. */
export async function compareRebuild(): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-rebuild-'));
  const container = await openContainer(configFrom({ DATA_DIR: folder, DETECTION: 'all' }), log);
  const ports = await replayPorts(container);
  const stop = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  try {
    await ingestAll(container);
    const end = (await (await container.getAsync(s.telemetrySource)).ends()).get(0);
    const started = performance.now();
    running = superviseProjectors(
      await supervisedProjections(container, ['detection']),
      ports.control,
      stop.signal,
      log,
    );
    while ((await ports.readModels.checkpoint({ projection: 'detection', generation: 1 }, 0)) !== end)
      await delay(50);
    const live = performance.now();
    const { comparison } = await rebuild(await pipelineOf(container, 'detection'), ports, {
      builder: { id: 'bench', isExpired: () => false },
      signal: stop.signal,
      handover: 0,
    });
    const rebuilt = performance.now();
    const database = await container.getAsync(s.database);
    const [[series = 0, characters = 0] = []] = await database.rows<[number, number]>(
      'SELECT COUNT(*), AVG(LENGTH(state)) FROM detection_states_g2',
    );
    const rate = (from: number, to: number) =>
      Math.round(readings / ((to - from) / 1000)).toLocaleString('en');
    console.log(`${readings.toLocaleString('en')} readings of ${series} series, novelty on each`);
    console.log(`live ${rate(started, live)} readings/s, rebuild ${rate(live, rebuilt)} readings/s`);
    // Base64 has four characters for three bytes.
    console.log(`${Math.round((characters * 3) / 4)} bytes of state a series`);
    for (const { table, equal, rows } of comparison.tables)
      console.log(
        `${table}: ${rows.active} rows, rebuilt ${equal ? 'equal' : `DIFFERENT, ${rows.next} rows`}`,
      );
    if (!comparison.equal || !comparison.samePosition) process.exitCode = 1;
  } finally {
    stop.abort();
    await running;
    await container.unbindAllAsync();
    await rm(folder, { recursive: true });
  }
}

/** A wave of each device with noise and, once in ten thousand, a spike. */
async function ingestAll(container: Awaited<ReturnType<typeof openContainer>>): Promise<void> {
  const commands = await container.getAsync(s.commands);
  const ingest = await container.getAsync(s.ingest);
  for (let device = 0; device < devices; device += 1) {
    const details = { name: `D ${device}`, type: 'bench', labels: {} };
    await commands.handle({ type: 'RegisterDevice', deviceId: `d-${device}`, details }, context);
  }
  let seed = 1;
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  for (let sent = 0; sent < readings; sent += perRequest)
    await ingest(
      Array.from({ length: perRequest }, (_, index) => {
        const n = sent + index;
        const wave = 10 * Math.sin(n / devices / 200) + random() + random();
        return {
          index,
          deviceId: `d-${n % devices}`,
          timestamp: 1_790_000_000_000 + 1000 * Math.floor(n / devices),
          metrics: { value: random() < 0.0001 ? 50 * random() : wave },
        };
      }),
      context,
    );
}
