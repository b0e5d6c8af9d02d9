import type { Bench } from '../harness/bench.ts';
import { lagOf, startEmbedded, startLoad, untilProjected } from '../harness/embedded.ts';
import type { Pending, Row } from '../harness/row.ts';
import { isInstalled, startInflux } from '../harness/time-series-servers.ts';
import type { Workload } from '../harness/workload.ts';

const workload = { devices: 1000, perRequest: 100 };
const connections = 32;
const acknowledged = 'embedded ingest, 100 a request, acknowledged';
const queryable = 'embedded ingest, 100 a request, queryable, sustained';

/** The same readings to Fieldlog and to InfluxDB 1.6: until they are acknowledged, and until they can be queried. */
export async function influx(bench: Bench): Promise<(Row | Pending)[]> {
  if (!isInstalled('influxd')) {
    const pending = 'influxd is not installed: apt-get install influxdb';
    return [acknowledged, queryable].map((figure) => ({ figure, pending }));
  }
  const load = startLoad(bench);
  const serve = await startEmbedded(bench);
  const influxd = await startInflux(bench);
  const targets = {
    fieldlog: { url: `${serve.url}/api/v1/telemetry`, format: 'fieldlog' },
    influx: { url: `${influxd.url}/write?db=bench&precision=ms`, format: 'influx' },
  } as const;

  const post = async (to: keyof typeof targets, seconds: number): Promise<number> => {
    const { url, format } = targets[to];
    const result = await load.call('run', {
      url,
      workload: { ...workload, format } as Workload,
      connections,
      seconds,
    });
    if (result.errors > 0) throw new Error(`${result.errors} requests to ${to} failed`);
    return result.readings;
  };
  const rate =
    (to: keyof typeof targets, seconds: number, after = async () => 0) =>
    async () => {
      const began = performance.now();
      const readings = await post(to, seconds);
      const missing = await after();
      return ((readings - missing) * 1000) / (performance.now() - began);
    };

  const rows: Row[] = [];
  const burst = bench.size(5, 1);
  await post('influx', 1);
  const acked = await bench.inTurn(
    { run: rate('fieldlog', burst), settle: () => untilProjected(serve.url), processes: [serve, load] },
    { run: rate('influx', burst), processes: [influxd] },
  );
  rows.push(rowOf(acknowledged, acked, 1.3));

  // What is behind when the time is up is waited for, and that time counts.
  const sustained = bench.size(60, 3);
  const untilQueryable = async () => {
    await untilProjected(serve.url);
    return lagOf(serve.url);
  };
  const kept = await bench.inTurn(
    { run: rate('fieldlog', sustained, untilQueryable), processes: [serve, load] },
    { run: rate('influx', sustained), processes: [influxd] },
  );
  rows.push(rowOf(queryable, kept, 0.6));
  return rows;
}

function rowOf(figure: string, taken: Awaited<ReturnType<Bench['inTurn']>>, ratio: number): Row {
  const { values, againstValues, usage } = taken;
  const against = { what: 'InfluxDB 1.6', values: againstValues };
  return { figure, unit: 'readings/s', values, against, target: { ratioAtLeast: ratio }, usage };
}
