import type { Bench } from '../harness/bench.ts';
import { startEventStoreDb } from '../harness/distributed.ts';
import { type Peer, startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
import type { BareEventStoreDb } from '../peers/bare-eventstoredb.ts';
import type { EmmettPeer } from '../peers/emmett.ts';
import type { SessionPeer } from '../peers/session.ts';

const atOnce = 64;

/** Load, decide and append with 64 commands in flight, against the client alone and against another library. */
export async function commandsDistributed(bench: Bench): Promise<Row[]> {
  const url = await startEventStoreDb(bench);
  const commands = bench.keep(startPeer<SessionPeer>('commands', 'session.ts'));
  await commands.call('open', { EVENTSTORE_URL: url, DATA_DIR: await bench.folder() });
  return [await registrations(bench, url, commands), await changes(bench, url, commands)];
}

/** To the client appending the same events to the same server. */
async function registrations(bench: Bench, url: string, commands: Peer<SessionPeer>): Promise<Row> {
  const events = bench.size(10_000, 1000);
  const bare = bench.keep(startPeer<BareEventStoreDb>('bare client', 'bare-eventstoredb.ts'));
  let round = 0;
  const register = (count: number) => {
    round += 1;
    return commands.call('register', { ids: idsOf(`${run}-round-${round}`, count), atOnce });
  };
  const append = (count: number) => {
    round += 1;
    return bare.call('append', { url, events: count, atOnce, prefix: `bare-${run}-${round}` });
  };
  await register(500);
  await append(500);

  const { values, againstValues, usage } = await bench.inTurn(
    { run: () => register(events), processes: [commands] },
    { run: () => append(events), processes: [bare] },
  );
  return {
    figure: 'commands (register), EventStoreDB, 64 in flight',
    unit: 'commands/s',
    values,
    against: { what: 'bare appendToStream', values: againstValues },
    target: { ratioAtLeast: 0.7 },
    usage,
  };
}

/** To Emmett, which reads each stream anew and appends in batches. */
async function changes(bench: Bench, url: string, commands: Peer<SessionPeer>): Promise<Row> {
  const ids = idsOf(`${run}-changed`, bench.size(2000, 500));
  const changes = bench.size(10_000, 1000);
  const emmett = bench.keep(startPeer<EmmettPeer>('Emmett', 'emmett.ts'));
  await emmett.call('open', { url });
  let round = 0;
  const next = () => {
    round += 1;
    return { ids, changes, atOnce, round };
  };
  const own = { run: () => commands.call('change', next()), processes: [commands] };
  const theirs = { run: () => emmett.call('change', next()), processes: [emmett] };
  await Promise.all([commands.call('register', { ids, atOnce }), emmett.call('register', { ids, atOnce })]);
  for (const { run: warmUp } of [own, theirs]) await warmUp();
  const { values, againstValues, usage } = await bench.inTurn(own, theirs);
  return {
    figure: 'commands (change), EventStoreDB, 64 in flight',
    unit: 'commands/s',
    values,
    against: { what: 'Emmett', values: againstValues },
    target: { ratioAtLeast: 1.3 },
    usage,
  };
}

/** A server that is there already has the streams of earlier runs. */
const run = Date.now().toString(36);

const idsOf = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, n) => `${prefix}-${n}`);
