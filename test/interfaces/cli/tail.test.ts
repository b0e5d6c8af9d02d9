import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Interrupted } from '../../../interfaces/cli/exit-codes.ts';
import { runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { httpClient } from '../../support/http-client.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

describe('fieldlog tail', function () {
  this.timeout(60_000);
  let served: ServedFolder;
  let relay: Server;
  let relayUrl: string;
  const sockets = new Set<Socket>();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  let n = 0;

  before(async () => {
    served = await servedFolder();
    const { port } = new URL(served.url);
    relay = createServer((client) => {
      const server = connect(Number(port), '127.0.0.1');
      for (const socket of [client, server]) {
        sockets.add(socket);
        socket.on('error', () => {}).on('close', () => sockets.delete(socket));
      }
      client.pipe(server).pipe(client);
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    relayUrl = `http://127.0.0.1:${(relay.address() as AddressInfo).port}`;
    await send('/api/v1/devices', { deviceId: 'a', name: 'a', type: 'pump' });
    await readings(3);
  });
  after(async () => {
    cut();
    relay?.close();
    await served?.close();
  });

  const send = async (path: string, json: unknown) => {
    const { status, text } = await httpClient(served.url)('POST', path, { json });
    assert.ok(status < 300, text);
  };
  const readings = async (count: number) => {
    const json = Array.from({ length: count }, (_, i) => ({ deviceId: 'a', metrics: { n: n + i } }));
    n += count;
    await send('/api/v1/telemetry', json);
  };
  const tail = (args: readonly string[], signal?: AbortSignal) =>
    runCli(['tail', '--url', relayUrl, ...args], signal === undefined ? {} : { signal });

  it('shows a line for each reading and for each change of a device', async () => {
    const { code, out } = await tail(['--events', 'readings,devices', '--count', '4', '--from', 'start']);
    assert.equal(code, 0);
    assert.match(out, /^\S+Z {2}reading {5}a {21}n 0$/m);
    assert.match(out, /^\S+Z {2}device {6}a {21}DeviceRegistered by .*name a/m);
  });

  it('continues where a connection was cut, each reading once', async () => {
    const ended = tail(['--json', '--metric', 'n', '--count', '60', '--from', 'start']);
    await eventually(() => assert.ok(sockets.size > 0));
    for (let i = 3; i < 60; i += 19) {
      await readings(19);
      cut();
    }
    const { code, out, err } = await ended;
    assert.equal(code, 0);
    const lines = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const values = lines.filter(({ event }) => event === 'reading').map(({ data }) => data.metrics.n);
    assert.deepEqual(
      values,
      Array.from({ length: 60 }, (_, i) => i),
    );
    assert.match(err, /connection to http\S+ closed, will continue where it was/);
  });

  it('ends by a signal, and says what is wrong with what was asked', async () => {
    const stop = new AbortController();
    const ended = tail(['--device', 'a'], stop.signal);
    await eventually(() => assert.ok(sockets.size > 0));
    stop.abort(new Interrupted('SIGINT'));
    assert.equal((await ended).code, 130);
    const expired = await tail(['--from', 'telemetry:0:999999']);
    assert.equal(expired.code, 1);
    assert.match(expired.err, /is not in this log, which ends at/);
    const wrong = await tail(['--events', 'nonsense']);
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /events.*must be of readings, buckets, devices, alarms/s);
    assert.equal((await tail(['--count', '0'])).code, 2);
    const nobody = await runCli(['tail', '--url', `http://127.0.0.1:${await freePort()}`]);
    assert.equal(nobody.code, 3);
    assert.match(nobody.err, /no server answers/);
  });
});
