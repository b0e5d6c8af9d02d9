import type { Bench } from '../harness/bench.ts';
import { openStores } from '../harness/distributed.ts';
import { fleet, registerFleet, startLoad } from '../harness/embedded.ts';
import { startPeer } from '../harness/peer.ts';
import { startFieldlog } from '../harness/process.ts';
import type { Row } from '../harness/row.ts';
import type { BareKafka } from '../peers/bare-kafka.ts';

const partitions = 12;
const perRequest = 100;
const connections = 16;

/** Readings answered once Kafka has them (`acks: -1`), to kafkajs sending the same messages. */
export async function ingestKafka(bench: Bench): Promise<Row[]> {
  const stores = await openStores(bench);
  const load = startLoad(bench);
  const bare = bench.keep(startPeer<BareKafka>('bare kafkajs', 'bare-kafka.ts'));
  const api = bench.keep(await startFieldlog('api', { ...stores, KAFKA_PARTITIONS: String(partitions) }));
  await registerFleet(api.url);

  const seconds = bench.size(6, 2);
  const post = async () => {
    const {
      readings,
      seconds: took,
      errors,
    } = await load.call('run', {
      url: `${api.url}/api/v1/telemetry`,
      workload: { format: 'fieldlog', devices: fleet, perRequest },
      connections,
      seconds,
    });
    if (errors > 0) throw new Error(`${errors} requests failed`);
    return readings / took;
  };
  const send = () =>
    bare.call('send', {
      brokers: stores.KAFKA_BROKERS,
      topic: stores.KAFKA_TOPIC,
      partitions,
      devices: fleet,
      perRequest,
      together: connections,
      seconds,
    });
  await post();
  await send();
  const { values, againstValues, usage } = await bench.inTurn(
    { run: post, processes: [api, load] },
    { run: send, processes: [bare] },
  );
  return [
    {
      figure: 'ingest, 100 readings a request, in Kafka (acks: -1)',
      unit: 'readings/s',
      values,
      against: { what: 'kafkajs alone', values: againstValues },
      target: { ratioAtLeast: 0.6 },
      usage,
    },
  ];
}
