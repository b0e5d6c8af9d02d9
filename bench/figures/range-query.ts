import path from 'node:path';
import { tableOf } from '../../infrastructure/sql/generation-tables.ts';
import type { Bench } from '../harness/bench.ts';
import { registerFleet, startLoad, untilProjected } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import { startFieldlog, startProcess } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';
import { deviceId, metricsPerReading } from '../harness/workload.ts';
import type { HttpGet } from '../peers/http-get.ts';

const formats = ['application/json', 'text/csv'] as const;

/** 100,000 points of one device over HTTP, to the driver reading the same rows and one JSON.stringify. */
export async function rangeQuery(bench: Bench): Promise<Row[]> {
  const points = bench.size(100_000, 10_000);
  const folder = await bench.folder();
  const serve = bench.keep(await startFieldlog('serve', { DATA_DIR: folder }));
  await registerFleet(serve.url, 1);
  await startLoad(bench).call('run', {
    url: `${serve.url}/api/v1/telemetry`,
    workload: { format: 'fieldlog', devices: 1, perRequest: 1 },
    connections: 64,
    seconds: 120,
    readings: points / metricsPerReading,
  });
  await untilProjected(serve.url);

  const client = bench.keep(startPeer<HttpGet>('client', 'http-get.ts'));
  const file = path.resolve(import.meta.dirname, '../peers/bare-range.ts');
  const args = [file, path.join(folder, 'read-models.db'), tableOf('telemetry', 1), deviceId(0)];
  const bare = bench.keep(startProcess('bare driver', process.execPath, args));
  const [bareUrl] = await bare.said(/http:\S+/);
  const pointsIn = async (url: string, accept: string) => {
    const { milliseconds } = await client.call('get', { url, accept, times: bench.size(7, 2) });
    return (points * 1000) / milliseconds;
  };
  const url = `${serve.url}/api/v1/devices/${deviceId(0)}/telemetry?limit=${points}`;

  const rows: Row[] = [];
  for (const accept of formats) {
    await pointsIn(url, accept);
    await pointsIn(bareUrl, accept);
    const { values, againstValues, usage } = await bench.inTurn(
      { run: () => pointsIn(url, accept), processes: [serve] },
      { run: () => pointsIn(bareUrl, accept), processes: [bare] },
    );
    rows.push({
      figure: `range query of ${points.toLocaleString('en-US')} points as ${accept}`,
      unit: 'points/s',
      values,
      against: { what: 'driver and JSON.stringify', values: againstValues },
      target: { ratioAtLeast: 0.7 },
      usage,
    });
  }
  return rows;
}
