import type { Bench } from '../harness/bench.ts';
import { startEventStoreDb } from '../harness/distributed.ts';
import { startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
import type { BareEventStoreDb } from '../peers/bare-eventstoredb.ts';
import type { SessionPeer } from '../peers/session.ts';

const atOnce = 64;

/** Load, decide and append with 64 commands under way, to the client appending the same events to the same server. */
export async function commandsDistributed(bench: Bench): Promise<Row[]> {
  const events = bench.size(10_000, 1000);
  const url = await startEventStoreDb(bench);
  const commands = bench.keep(startPeer<SessionPeer>('commands', 'session.ts'));
  const bare = bench.keep(startPeer<BareEventStoreDb>('bare client', 'bare-eventstoredb.ts'));
  await commands.call('open', { EVENTSTORE_URL: url, DATA_DIR: await bench.folder() });
  let round = 0;
  const register = (count: number) => {
    round += 1;
    return commands.call('register', {
      ids: Array.from({ length: count }, (_, n) => `round-${round}-${n}`),
      atOnce,
    });
  };
  const append = (count: number) => {
    round += 1;
    return bare.call('append', { url, events: count, atOnce, prefix: `bare-${round}` });
  };
  await register(500);
  await append(500);

  const { values, againstValues, usage } = await bench.inTurn(
    { run: () => register(events), processes: [commands] },
    { run: () => append(events), processes: [bare] },
  );
  return [
    {
      figure: 'commands (register), EventStoreDB, 64 in flight',
      unit: 'commands/s',
      values,
      against: { what: 'bare appendToStream', values: againstValues },
      target: { ratioAtLeast: 0.7 },
      usage,
    },
  ];
}
