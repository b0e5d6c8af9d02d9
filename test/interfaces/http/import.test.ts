import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { type ClientRequest, request } from 'node:http';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { importEvent } from '../../../interfaces/import/import-schemas.ts';
import { runCli } from '../../support/cli.ts';
import { eventually } from '../../support/eventually.ts';
import { type FormServer, formServer } from '../../support/form-server.ts';
import type { Reply } from '../../support/http-client.ts';
import { recordingSession } from '../../support/recording-session.ts';

const fixtures = path.resolve(import.meta.dirname, '../../fixtures/import');
const most = 100_000;

describe('POST /api/v1/import', function () {
  this.timeout(30_000);
  let server: FormServer;

  before(async () => {
    server = await formServer({ IMPORT_MAX_BYTES: String(most) });
  });
  after(() => server?.close());

  const send = (
    body: string | Uint8Array<ArrayBuffer>,
    query: Readonly<Record<string, string>> = {},
    key = server.keys.admin,
  ): Promise<Reply> =>
    server.call('POST', `/api/v1/import?${new URLSearchParams(query)}`, {
      body,
      headers: { 'Content-Type': 'application/octet-stream', 'X-API-Key': key },
    });
  /** Holds each line of an answer to what the document says of it. */
  const eventsOf = ({ status, text }: Reply) => {
    assert.equal(status, 200, text);
    return text
      .trimEnd()
      .split('\n')
      .map((line) => importEvent.parse(JSON.parse(line)) && JSON.parse(line));
  };
  const reportOf = (reply: Reply) => {
    const last = eventsOf(reply).at(-1);
    assert.equal(last.event, 'report', reply.text);
    return last.data;
  };
  const csv = (...rows: readonly string[]) => `${['deviceId,timestamp,temp', ...rows].join('\n')}\n`;

  it('previews as the command does, whatever the file', async () => {
    let alike = 0;
    for (const file of await readdir(fixtures)) {
      const { runtime } = recordingSession();
      const from = path.join(fixtures, file);
      const args = ['import', from, '--device', 'x', '--dry-run', '--json'];
      const { code, out } = await runCli(args, { runtime });
      const body = new Uint8Array(await readFile(from));
      const reply = await send(body, { dryRun: 'true', device: 'x', file: from });
      if (code === 2) {
        assert.equal(reply.status, 400, `${file}: ${reply.text}`);
        continue;
      }
      const { files, into: _, seconds: __, refusals, ...totals } = JSON.parse(out);
      const { columns, refusals: refused, leftOut, seconds: ___, whole, notes, ...own } = reportOf(reply);
      assert.deepEqual(own, totals, file);
      assert.equal(whole, code === 0, file);
      const [{ columns: found }] = files;
      const withoutReason = ({ reason: _, ...column }: { reason?: string }) => column;
      assert.deepEqual(columns.map(withoutReason), found.map(withoutReason), file);
      assert.deepEqual(refused.map(withoutReason), refusals.map(withoutReason), file);
      assert.deepEqual([leftOut, notes.length], [files[0].leftOut, files[0].notes.length], file);
      alike += 1;
    }
    assert.ok(alike >= 40, `${alike} files`);
    const { json } = await server.call('GET', '/api/v1/devices', {
      headers: { 'X-API-Key': server.keys.admin },
    });
    assert.deepEqual(json.devices, []);
  });

  it('says in its own words what is missing', async () => {
    const { status, json } = await send('when,temp\n2026-01-01,1\n', { device: 'a-1' });
    assert.equal(status, 400);
    assert.match(json.detail, /which column is the time: `timeColumn` <name>; there are "when", "temp"/);
    const bad = await send(csv(), { delimiter: 'ab', dryRun: 'yes', speed: '1' });
    assert.deepEqual(
      bad.json.errors.map(({ path, detail }: { path: string; detail: string }) => `${path} ${detail}`).sort(),
      [
        '/delimiter `delimiter` must be one character, or tab',
        '/dryRun must be true or false',
        '/speed is not known here',
      ],
    );
  });

  it('stores the readings, and hands out refused lines which the command imports once they are mended', async () => {
    const body = csv(
      'b-1,2026-01-01T00:00Z,1',
      'b-1,never,2',
      'b-2,2026-01-01T00:00Z,3',
      'b-1,2026-01-01T00:00Z,4',
    );
    const events = eventsOf(await send(new Uint8Array(gzipSync(body)), { rejects: 'true' }));
    const report = events.at(-1).data;
    const { readings, registered, refused, conflicts, whole, complete, late, notes } = report;
    assert.deepEqual(
      { readings, registered, refused, conflicts, whole, complete, late, notes },
      {
        readings: 2,
        registered: 2,
        refused: 2,
        conflicts: 1,
        whole: false,
        complete: true,
        late: 0,
        notes: ['compressed by gzip'],
      },
    );
    assert.deepEqual(
      report.refusals.map(({ line }: { line: number }) => line),
      [3, 5],
    );
    // It is answered once the read models have it.
    assert.deepEqual(await server.points('b-1', 1), [['temp', 1, '2026-01-01T00:00:00.000Z']]);
    const rejects = events.filter(({ event }) => event === 'reject').map(({ data }) => JSON.stringify(data));
    const file = path.join(server.folder, 'rejects.ndjson');
    await writeFile(file, rejects.join('\n').replaceAll('never', '2026-01-02T00:00Z'));
    const mended = await runCli(['import', '--from-rejects', file, '--url', server.url, '--json'], {
      env: { FIELDLOG_API_KEY: server.keys.admin },
    });
    assert.equal(mended.code, 1, mended.err);
    assert.equal((await server.points('b-1', 2)).length, 2);

    const again = reportOf(await send(body));
    assert.deepEqual([again.readings, again.registered], [2, 0]);
    assert.equal((await server.points('b-1', 2)).length, 2);
  });

  it('is for keys that may send, and registers for those that may register', async () => {
    const { writer, reader } = server.keys;
    const body = csv('c-1,2026-01-01T00:00Z,1');
    assert.equal((await send(body, {}, reader)).status, 403);
    assert.equal((await send(body, {}, writer)).status, 403);
    assert.equal((await send(body, {}, '')).status, 401);
    const report = reportOf(await send(body, { register: 'false' }, writer));
    assert.deepEqual([report.readings, report.refused], [0, 1]);
    assert.match(report.refusals[0].reason, /c-1 is not registered/);
  });

  it('takes no file, and nothing decompressed, that is too large', async () => {
    const large = await send('a'.repeat(most + 1));
    assert.deepEqual([large.status, large.json.limit], [413, most]);
    const streamed = upload(server);
    streamed.write('a'.repeat(most + 1));
    const [answer] = await once(streamed, 'response');
    assert.equal(answer.statusCode, 413);
    streamed.destroy();
    const bomb = csv(...Array.from({ length: 9000 }, () => 'd-1,2026-01-01T00:00Z,1'));
    const { status, json } = await send(new Uint8Array(gzipSync(bomb)));
    assert.equal(status, 400);
    assert.match(json.detail, /more than 100000 bytes once it is decompressed/);
  });

  it('imports one file at a time, and the next when a sender is gone', async () => {
    const body = csv('e-1,2026-01-01T00:00Z,1');
    const begun = () => {
      const sent = upload(server);
      sent.write('deviceId,timestamp,temp\n');
      return sent;
    };
    let slow = begun();
    await eventually(async () => {
      const { status, json, headers } = await send(body);
      if (status === 200) {
        // The other came later, and was the one that was refused.
        slow.destroy();
        slow = begun();
      }
      assert.equal(status, 429);
      assert.match(json.type, /too-many-imports$/);
      assert.equal(headers.get('Retry-After'), '5');
    });
    slow.destroy();
    await eventually(async () => assert.equal(reportOf(await send(body)).whole, true));
  });
});

/** A request whose body is still to come. */
function upload({ url, keys }: FormServer): ClientRequest {
  const sent = request(`${url}/api/v1/import`, {
    method: 'POST',
    headers: { 'Content-Type': 'text/csv', 'X-API-Key': keys.admin },
  });
  sent.on('error', () => {});
  return sent;
}
