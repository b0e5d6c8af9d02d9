import type { Bench } from '../harness/bench.ts';
import { lagOf, startEmbedded, startLoad, untilProjected } from '../harness/embedded.ts';
import type { Process } from '../harness/process.ts';
import type { Pending, Row } from '../harness/row.ts';
import { isInstalled, startInflux, startVictoriaMetrics } from '../harness/time-series-servers.ts';

const workload = { format: 'influx', devices: 1000, perRequest: 100 } as const;
const connections = 32;

type Target = {
  readonly processes: readonly Pick<Process, 'role' | 'pid'>[];
  readonly url: string;
  /** Resolves once all that was acknowledged can be queried, with the number of readings of which that is not so. */
  readonly untilQueryable: () => Promise<number>;
};

type Peer = { readonly what: string; readonly start: (bench: Bench) => Promise<Target> };

const peers: Readonly<Record<string, Peer>> = {
  influxd: {
    what: 'InfluxDB 1.6',
    async start(bench) {
      const server = await startInflux(bench);
      const url = `${server.url}/write?db=bench&precision=ms`;
      return { processes: [server], url, untilQueryable: async () => 0 };
    },
  },
  'victoria-metrics': {
    what: 'VictoriaMetrics 1.79',
    async start(bench) {
      const server = await startVictoriaMetrics(bench);
      return {
        processes: [server],
        url: `${server.url}/write?precision=ms`,
        // What came within the last second cannot be queried yet.
        async untilQueryable() {
          const answer = await fetch(`${server.url}/internal/force_flush`);
          if (!answer.ok) throw new Error(`VictoriaMetrics did not flush: ${answer.status}`);
          return 0;
        },
      };
    },
  },
};

/** The same bytes of line protocol to Fieldlog, InfluxDB and VictoriaMetrics: acknowledged, and able to be queried. */
export async function lineProtocol(bench: Bench): Promise<(Row | Pending)[]> {
  const rows: (Row | Pending)[] = [];
  for (const [program, peer] of Object.entries(peers)) rows.push(...(await against(program, peer, bench)));
  return rows;
}

async function against(program: string, { what, start }: Peer, bench: Bench): Promise<(Row | Pending)[]> {
  const figures = ['acknowledged', 'queryable, sustained'].map(
    (part) => `line protocol beside ${what}, 100 a request, ${part}`,
  );
  if (!isInstalled(program))
    return figures.map((figure) => ({ figure, pending: `${program} is not installed: apt-get install it` }));
  const load = startLoad(bench);
  const serve = await startEmbedded(bench);
  const own: Target = {
    processes: [serve, load],
    url: `${serve.url}/api/v2/write?precision=ms`,
    async untilQueryable() {
      await untilProjected(serve.url);
      return lagOf(serve.url);
    },
  };
  const other = await start(bench);
  const rate = (target: Target, seconds: number, isQueryable: boolean) => async () => {
    const began = performance.now();
    const { readings, errors } = await load.call('run', { url: target.url, workload, connections, seconds });
    if (errors > 0) throw new Error(`${errors} requests to ${target.url} failed`);
    const missing = isQueryable ? await target.untilQueryable() : 0;
    return ((readings - missing) * 1000) / (performance.now() - began);
  };
  for (const target of [own, other]) await rate(target, bench.size(3, 1), true)();
  const rows: Row[] = [];
  for (const [i, figure] of figures.entries()) {
    const isQueryable = i === 1;
    const seconds = isQueryable ? bench.size(20, 2) : bench.size(5, 1);
    const { values, againstValues, usage } = await bench.inTurn(
      {
        run: rate(own, seconds, isQueryable),
        settle: () => untilProjected(serve.url),
        processes: own.processes,
      },
      { run: rate(other, seconds, isQueryable), processes: other.processes },
    );
    // Neither keeps a ledger, registered devices or rollups; VictoriaMetrics acknowledges from memory.
    const target = { ratioAtLeast: isQueryable ? 0.2 : 0.5 };
    rows.push({
      figure,
      unit: 'readings/s',
      values,
      against: { what, values: againstValues },
      target,
      usage,
    });
  }
  return rows;
}
