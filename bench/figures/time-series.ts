import type { Bench } from '../harness/bench.ts';
import { startEmbedded, startLoad, untilProjected } from '../harness/embedded.ts';
import type { Pending, Row } from '../harness/row.ts';
import {
  isInstalled,
  notInstalled,
  type TimeSeriesPeer,
  timeSeriesPeers,
} from '../harness/time-series-servers.ts';

const connections = 32;
const sent = { devices: 1000, perRequest: 100 };

/** How Fieldlog is sent the readings that its peers are sent as line protocol. */
type Form = {
  readonly figure: string;
  readonly path: string;
  readonly format: 'fieldlog' | 'influx';
  /** Seconds of a round of the figure that counts what can be queried. */
  readonly sustained: number;
  /** Ratios by the program that it is set against. */
  readonly atLeast: Readonly<Record<string, { readonly acknowledged: number; readonly queryable: number }>>;
};

// The peers keep no ledger, registered devices or rollups; VictoriaMetrics acknowledges from memory.
const json: Form = {
  figure: 'embedded ingest',
  path: '/api/v1/telemetry',
  format: 'fieldlog',
  sustained: 60,
  atLeast: {
    influxd: { acknowledged: 1.3, queryable: 1 },
    'victoria-metrics': { acknowledged: 0.5, queryable: 0.4 },
  },
};

const lines: Form = {
  figure: 'line protocol',
  path: '/api/v2/write?precision=ms',
  format: 'influx',
  sustained: 20,
  atLeast: {
    influxd: { acknowledged: 0.5, queryable: 0.2 },
    'victoria-metrics': { acknowledged: 0.5, queryable: 0.2 },
  },
};

/** The same readings to Fieldlog, InfluxDB and VictoriaMetrics: acknowledged, and able to be queried. */
export const timeSeries = (bench: Bench): Promise<(Row | Pending)[]> => besideAll(json, bench);

/** As `timeSeries`, and the same bytes. */
export const lineProtocol = (bench: Bench): Promise<(Row | Pending)[]> => besideAll(lines, bench);

async function besideAll(form: Form, bench: Bench): Promise<(Row | Pending)[]> {
  const rows: (Row | Pending)[] = [];
  for (const peer of timeSeriesPeers) {
    const figures = ['acknowledged', 'queryable, sustained'].map(
      (part) => `${form.figure} beside ${peer.what}, 100 a request, ${part}`,
    );
    if (isInstalled(peer.program)) rows.push(...(await beside(peer, form, figures, bench)));
    else rows.push(...notInstalled(peer.program, figures));
  }
  return rows;
}

type Target = {
  readonly url: string;
  readonly format: Form['format'];
  /** Resolves once all that was acknowledged can be queried. */
  readonly untilQueryable: () => Promise<void>;
};

async function beside(
  { program, what, start }: TimeSeriesPeer,
  { path, format, sustained, atLeast }: Form,
  figures: readonly string[],
  bench: Bench,
): Promise<Row[]> {
  const load = startLoad(bench);
  const serve = await startEmbedded(bench);
  const peer = await start(bench);
  const own: Target = {
    url: `${serve.url}${path}`,
    format,
    untilQueryable: () => untilProjected(serve.url),
  };
  const other: Target = { url: peer.writeUrl, format: 'influx', untilQueryable: peer.untilQueryable };

  /** What is behind when the time is up is waited for where it counts, and that time counts. */
  const rate = (target: Target, seconds: number, isQueryable: boolean) => async () => {
    const began = performance.now();
    const { readings, errors } = await load.call('run', {
      url: target.url,
      workload: { ...sent, format: target.format },
      connections,
      seconds,
    });
    if (errors > 0) throw new Error(`${errors} requests to ${target.url} failed`);
    if (isQueryable) await target.untilQueryable();
    return (readings * 1000) / (performance.now() - began);
  };

  for (const target of [own, other]) await rate(target, bench.size(3, 1), true)();
  const rows: Row[] = [];
  for (const [i, figure] of figures.entries()) {
    const isQueryable = i === 1;
    const seconds = isQueryable ? bench.size(sustained, 2) : bench.size(5, 1);
    const { values, againstValues, usage } = await bench.inTurn(
      {
        run: rate(own, seconds, isQueryable),
        settle: () => untilProjected(serve.url),
        processes: [serve, load],
      },
      { run: rate(other, seconds, isQueryable), processes: [peer] },
    );
    rows.push({
      figure,
      unit: 'readings/s',
      values,
      against: { what, values: againstValues },
      target: { ratioAtLeast: atLeast[program]?.[isQueryable ? 'queryable' : 'acknowledged'] ?? 1 },
      usage,
    });
  }
  return rows;
}
