import path from 'node:path';
import type { Bench } from '../harness/bench.ts';
import { type Server, startEmbedded, startLoad, untilProjected } from '../harness/embedded.ts';
import { type Process, startProcess } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';

const variants = [
  { figure: 'ingest, 100 readings a request, durable', perRequest: 100, connections: 32, ratio: 0.6 },
  {
    figure: 'ingest, 1 reading a request, 64 connections, durable',
    perRequest: 1,
    connections: 64,
    ratio: 0.8,
  },
] as const;

/** Readings answered once they are on disk, to Express answering at once and keeping nothing. */
export async function ingestEmbedded(bench: Bench): Promise<Row[]> {
  const load = startLoad(bench);
  const serve = await startEmbedded(bench);
  const express = await startBareExpress(bench);
  const rows: Row[] = [];
  for (const { figure, perRequest, connections, ratio } of variants) {
    const run = async (server: Server) => {
      const { readings, seconds, errors } = await load.call('run', {
        url: `${server.url}/api/v1/telemetry`,
        workload: { format: 'fieldlog', devices: 1000, perRequest },
        connections,
        seconds: bench.size(6, 1),
      });
      if (errors > 0) throw new Error(`${errors} requests failed`);
      return readings / seconds;
    };
    await run(express);
    const taken = await bench.inTurn(
      {
        run: () => run(serve),
        settle: () => untilProjected(serve.url),
        processes: [serve, load],
      },
      { run: () => run(express), processes: [express] },
    );
    rows.push({
      figure,
      unit: 'readings/s',
      values: taken.values,
      against: { what: 'bare Express', values: taken.againstValues },
      target: { ratioAtLeast: ratio },
      usage: taken.usage,
    });
  }
  return rows;
}

async function startBareExpress(bench: Bench): Promise<Process & { readonly url: string }> {
  const file = path.resolve(import.meta.dirname, '../peers/bare-express.ts');
  const started = bench.keep(startProcess('express', process.execPath, [file]));
  const [url] = await started.said(/http:\S+/);
  return { ...started, url };
}
