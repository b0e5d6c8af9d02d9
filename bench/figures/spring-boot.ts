import { execFile, spawnSync } from 'node:child_process';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';
import { createConnection } from 'mysql2/promise';
import type { Bench, Watched } from '../harness/bench.ts';
import { newDatabase, openStores, serversOf, startRoles, unique } from '../harness/distributed.ts';
import { fleet, registerFleet, startLoad, untilProjected } from '../harness/embedded.ts';
import { startProcess } from '../harness/process.ts';
import type { Pending, Row } from '../harness/row.ts';
import { cpuSeconds } from '../harness/usage.ts';

const run = promisify(execFile);
const peer = path.resolve(import.meta.dirname, '../peers/spring');
const partitions = 12;
const connections = 16;
const variants = [
  { perRequest: 100, full: 400_000, quick: 10_000 },
  { perRequest: 1, full: 60_000, quick: 2000 },
] as const;

const figureOf = (perRequest: number): string =>
  `ingest API, Kafka, worker and MariaDB, ${perRequest} a request: readings stored per second of CPU`;

/** A pipeline that takes readings and stores them by way of Kafka, each role a process. */
type Pipeline = {
  readonly url: string;
  readonly processes: readonly Watched[];
  /** Resolves once all that was accepted is stored. */
  readonly untilStored: () => Promise<void>;
  readonly assertStored: () => Promise<void>;
};

/** The same readings through the same Kafka and MariaDB; the CPU is that of all processes but the client's. */
export async function springBoot(bench: Bench): Promise<(Row | Pending)[]> {
  const missing = ['java', 'mvn'].find((program) => spawnSync(program, ['-version']).error);
  if (missing)
    return variants.map(({ perRequest }) => ({
      figure: figureOf(perRequest),
      pending: `${missing} is not installed: apt-get install openjdk-17-jdk-headless maven`,
    }));
  await run(path.join(peer, 'build'));
  const load = startLoad(bench);
  const own = await startOwn(bench);
  const spring = await startSpring(bench);
  const servers = bench.options.serverProcesses ?? [];

  const perCpuSecond = (pipeline: Pipeline, perRequest: number, readings: number) => async () => {
    const processes = [...pipeline.processes, ...servers];
    const before = cpuOf(processes);
    const sent = await load.call('run', {
      url: `${pipeline.url}/api/v1/telemetry`,
      workload: { format: 'fieldlog', devices: fleet, perRequest },
      connections,
      seconds: 300,
      readings,
    });
    if (sent.errors > 0 || sent.readings < readings)
      throw new Error(`${pipeline.url} refused ${sent.errors} requests`);
    await pipeline.untilStored();
    return sent.readings / (cpuOf(processes) - before);
  };

  const rows: Row[] = [];
  for (const { perRequest, full, quick } of variants) {
    const readings = bench.size(full, quick);
    // A virtual machine compiles what it has run for a while.
    for (const pipeline of [own, spring]) await perCpuSecond(pipeline, perRequest, readings)();
    const side = (pipeline: Pipeline) => ({
      run: perCpuSecond(pipeline, perRequest, readings),
      settle: pipeline.assertStored,
      processes: [...pipeline.processes, ...servers],
    });
    const taken = await bench.inTurn(side(own), side(spring));
    rows.push({
      figure: figureOf(perRequest),
      unit: 'readings/s of CPU',
      values: taken.values,
      against: { what: 'Spring Boot 4.0', values: taken.againstValues },
      target: { ratioAtLeast: 5 },
      usage: taken.usage,
    });
  }
  return rows;
}

const cpuOf = (processes: readonly Watched[]): number =>
  processes.reduce((sum, { pid }) => sum + (cpuSeconds(pid) ?? Number.NaN), 0);

async function startOwn(bench: Bench): Promise<Pipeline> {
  const stores = { ...(await openStores(bench)), KAFKA_PARTITIONS: String(partitions) };
  const { api, devices, telemetry } = await startRoles(bench, stores);
  await registerFleet(api.url);
  return {
    url: api.url,
    processes: [api, devices, telemetry],
    untilStored: () => untilProjected(api.url),
    // What is projected is stored, or counted as it was not.
    assertStored: async () => {},
  };
}

async function startSpring(bench: Bench): Promise<Pipeline> {
  const { kafka } = serversOf(bench);
  const [topic, group] = [unique('spring'), unique('spring')];
  const database = await newDatabase(bench);
  const { host, pathname, username, password } = new URL(database);
  const env = {
    SPRING_KAFKA_BOOTSTRAP_SERVERS: kafka,
    SPRING_KAFKA_CONSUMER_GROUP_ID: group,
    PIPELINE_TOPIC: topic,
    PIPELINE_PARTITIONS: String(partitions),
    SPRING_DATASOURCE_URL: `jdbc:mysql://${host}${pathname}?rewriteBatchedStatements=true&cachePrepStmts=true`,
    SPRING_DATASOURCE_USERNAME: username,
    SPRING_DATASOURCE_PASSWORD: decodeURIComponent(password),
    SERVER_PORT: '0',
    SERVER_ADDRESS: '127.0.0.1',
  };
  const jar = path.join(peer, 'target/spring-peer.jar');
  const start = async (profile: 'api' | 'worker') => {
    const role = `Spring ${profile}`;
    const args = ['-jar', jar, `--spring.profiles.active=${profile}`];
    const started = bench.keep(startProcess(role, 'java', args, env));
    const [, port] = await started.said(/Tomcat started on port (\d+)/);
    await started.said(/Started PipelineApplication/);
    return { ...started, url: `http://127.0.0.1:${port}` };
  };
  const api = await start('api');
  const worker = await start('worker');

  const client = new Kafka({ brokers: kafka.split(','), logLevel: logLevel.NOTHING }).admin();
  await client.connect();
  bench.onClose(() => client.disconnect());
  /** What the worker has not committed yet. */
  const lag = async (): Promise<number> => {
    const ends = await client.fetchTopicOffsets(topic);
    const [committed] = await client.fetchOffsets({ groupId: group, topics: [topic] });
    const at = new Map(committed?.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
    return ends.reduce(
      (sum, { partition, offset }) => sum + Number(offset) - Math.max(0, at.get(partition) ?? 0),
      0,
    );
  };
  return {
    url: api.url,
    processes: [api, worker],
    async untilStored() {
      while ((await lag()) > 0) await pause(100);
    },
    async assertStored() {
      const [end, rows] = [await client.fetchTopicOffsets(topic), await countRows(database)];
      const sent = end.reduce((sum, { offset }) => sum + Number(offset), 0);
      if (rows !== sent) throw new Error(`Spring stored ${rows} of ${sent} readings`);
    },
  };
}

async function countRows(database: string): Promise<number> {
  const connection = await createConnection(database);
  const [rows] = await connection.query('SELECT COUNT(*) AS rows_stored FROM readings');
  await connection.end();
  return Number((rows as { rows_stored: number }[])[0]?.rows_stored);
}
