import path from 'node:path';
import type { Bench } from '../harness/bench.ts';
import { startPeer } from '../harness/peer.ts';
import type { Row } from '../harness/row.ts';
import { deviceId } from '../harness/workload.ts';
import type { BareAppends } from '../peers/bare-appends.ts';
import type { SessionPeer } from '../peers/session.ts';

const atOnce = 64;

/** Load, decide and append with 64 commands in flight, to appending the same events 64 at a time. */
export async function commandsEmbedded(bench: Bench): Promise<Row[]> {
  const events = bench.size(50_000, 5000);
  const folder = await bench.folder();
  const commands = bench.keep(startPeer<SessionPeer>('commands', 'session.ts'));
  const bare = bench.keep(startPeer<BareAppends>('bare appends', 'bare-appends.ts'));
  await commands.call('open', { DATA_DIR: folder });
  const register = (from: number, count: number) =>
    commands.call('register', { ids: Array.from({ length: count }, (_, n) => deviceId(from + n)), atOnce });
  await register(0, 2000);

  let registered = 0;
  let appended = 0;
  const { values, againstValues, usage } = await bench.inTurn(
    {
      run: () => {
        registered += 1;
        return register(registered * events, events);
      },
      processes: [commands],
    },
    {
      run: () => {
        appended += 1;
        return bare.call('append', {
          file: path.join(folder, 'bare.db'),
          events,
          group: atOnce,
          from: appended * events,
        });
      },
      processes: [bare],
    },
  );
  return [
    {
      figure: 'commands (register), embedded, 64 in flight',
      unit: 'commands/s',
      values,
      against: { what: 'bare group-committed appends', values: againstValues },
      target: { ratioAtLeast: 0.6 },
      usage,
    },
  ];
}
