import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { runCli } from '../cli.ts';
import { eventually } from '../eventually.ts';
import { fieldlog } from '../fieldlog-process.ts';
import { type Call, type HttpClient, httpClient, type Reply } from '../http-client.ts';
import { type CollectedSpan, type TraceCollector, traceCollector } from '../trace-collector.ts';

export type ObservedReply = Reply & { readonly method: string; readonly path: string };
export type ObservedCommand = { readonly line: string; readonly code: number; readonly out: string };

/** All that a server and the command line showed to their users. */
export type Observed = {
  readonly replies: readonly ObservedReply[];
  readonly commands: readonly ObservedCommand[];
  /** Of `fieldlog import`, NDJSON. */
  readonly rejects: string;
  /** Text format of Prometheus. */
  readonly metrics: string;
  readonly spans: readonly CollectedSpan[];
  /** With the files of the stores, which nothing has open any more. */
  readonly dataDir: string;
  close(): Promise<void>;
};

/** What a request may bring along, whatever it asks for. */
export const context = {
  'X-Correlation-Id': 'from-the-caller',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  tracestate: 'vendor=abc',
} as const;

const scopes = 'devices:write,devices:read,telemetry:write,telemetry:read,operate';
const bodyLimit = 70_000;
const minute = 60_000;
const day = 24 * 60 * minute;
const policy = [
  { points: '30d', minutes: '60d', hours: '90d', days: 'forever' },
  { type: 'pump', metric: 'metricTwo', points: '60d' },
];

/** Does once all that can be done with the embedded profile, and notes what it answers. */
export async function runScenario(): Promise<Observed> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-frozen-'));
  const collector = await traceCollector();
  const close = () => rm(folder, { recursive: true });
  try {
    return { ...(await observe(folder, collector)), close };
  } catch (error) {
    await close();
    throw error;
  } finally {
    await collector.close();
  }
}

async function observe(folder: string, collector: TraceCollector): Promise<Omit<Observed, 'close'>> {
  const dataDir = path.join(folder, 'data');
  const env = {
    DATA_DIR: dataDir,
    PORT: '0',
    MQTT_PORT: '0',
    // Where no broker is: what is said of one is there all the same.
    MQTT_BROKER_URL: 'mqtt://127.0.0.1:1',
    MAX_BODY_BYTES: String(bodyLimit),
    RATE_LIMIT_PER_DEVICE: '100',
    RATE_LIMIT_BURST_SECONDS: '1',
    RETENTION: JSON.stringify(policy),
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  };
  const commands: ObservedCommand[] = [];
  const run = async (line: string, expected = 0, more: Readonly<Record<string, string>> = {}) => {
    const { code, out, err } = await runCli([...line.split(' '), '--json'], { env: { ...env, ...more } });
    assert.equal(code, expected, `fieldlog ${line}: ${err}${out}`);
    commands.push({ line, code, out });
    return JSON.parse(out === '' ? 'null' : out);
  };

  // A server of another test runs elsewhere, and then a key alone makes no store.
  assert.equal((await runCli(['migrate'], { env })).code, 0);
  const { key } = await run(`keys create --name operator --scopes ${scopes} --expires 90d`);
  const { key: narrow } = await run('keys create --name reader --scopes devices:read');
  const server = fieldlog(['serve'], env);
  try {
    const [, url = ''] = await server.says(/(http:\/\/\S+)/, 60_000);
    const replies: ObservedReply[] = [];
    const call = recorded(httpClient(url), key, replies);
    await changeDevices(call, key);
    await sendReadings(call, dataDir);
    await query(call);
    await refuse(call, narrow);

    const reached = { PORT: new URL(url).port, FIELDLOG_API_KEY: key };
    const rejects = path.join(folder, 'rejects.ndjson');
    const file = path.join(folder, 'history.csv');
    await writeFile(file, 'time,metricOne,left out\n2026-01-01,1,text\nnever,2,text\n');
    await commandDevices((line, expected) => run(line, expected, reached));
    await run(`import ${file} --device d-imported --rejects ${rejects} --url ${url}`, 1, reached);
    await run('simulate --devices 1 --seconds 1 --rate 10 --seed 5', 0, reached);
    await operate(call, run, dataDir);
    const { text: metrics } = await call('GET', '/metrics');
    assert.equal(await server.end('SIGTERM'), 0, server.errors());
    await run('keys revoke reader');
    await run('keys list');
    await run('config');
    const { spans } = collector;
    return { replies, commands, rejects: await readFile(rejects, 'utf8'), metrics, spans, dataDir };
  } finally {
    await server.end('SIGKILL');
  }
}

function recorded(client: HttpClient, key: string, replies: ObservedReply[]) {
  return async (method: string, at: string, sent: Call = {}): Promise<Reply> => {
    const reply = await client(method, at, { ...sent, headers: { 'X-API-Key': key, ...sent.headers } });
    replies.push({ ...reply, method, path: at });
    return reply;
  };
}
type Caller = ReturnType<typeof recorded>;

/** Every command a device takes, so that every event is stored with every field it can have. */
async function changeDevices(call: Caller, key: string): Promise<void> {
  const ok = async (method: string, at: string, json?: unknown, headers: Record<string, string> = {}) => {
    const reply = await call(method, at, { headers, ...(json !== undefined && { json }) });
    assert.ok(reply.status < 300, `${method} ${at}: ${reply.text}`);
    return reply;
  };
  const details = { name: 'One', type: 'boiler', labels: { labelOne: 'x' } };
  const device = '/api/v1/devices/d-one';
  await ok('POST', '/api/v1/devices', { deviceId: 'd-one', ...details }, { 'Idempotency-Key': 'once' });
  await ok('POST', '/api/v1/devices', { deviceId: 'd-two', ...details, issueToken: true });
  const others = ['d-suspended', 'd-decommissioned', 'd-erased', 'd-parked'];
  const bulk = [...others.map((deviceId) => ({ deviceId, ...details })), { deviceId: 'd-one' }];
  await ok('POST', '/api/v1/devices/bulk', bulk);
  await ok('PATCH', device, { name: 'Two', type: 'pump', labels: { labelOne: 'y' } }, { 'If-Match': '"0"' });
  await ok('POST', `${device}/suspend`, { reason: 'drifts' });
  await ok('POST', `${device}/reinstate`);
  await ok('POST', `${device}/token`);
  await ok('POST', '/api/v1/devices/d-suspended/suspend', { reason: 'drifts' });
  await ok('POST', '/api/v1/devices/d-decommissioned/decommission', { reason: 'scrapped' });
  await ok('POST', '/api/v1/devices/d-erased/erase', { reason: 'asked for' });
  await ok('GET', device, undefined, { ...context, Authorization: `Bearer ${key}`, 'X-API-Key': '' });
}

/** Readings of every fate, one that only another writer of the log can have written among them. */
async function sendReadings(call: Caller, dataDir: string): Promise<void> {
  const now = Date.now() - minute;
  const send = async (...readings: readonly object[]) => {
    const { status, text, json } = await call('POST', '/api/v1/telemetry', { json: readings });
    assert.equal(status, 202, text);
    return json.positions[0] as string;
  };
  const reading = { deviceId: 'd-one', timestamp: now, metrics: { metricOne: 1, metricTwo: 'text' } };
  await send(reading, { ...reading, timestamp: now - 1000 }, { ...reading, deviceId: 'd-nobody' });
  await send(reading);
  await send({ ...reading, metrics: { metricOne: 2, metricTwo: 'text' } });
  await send({ ...reading, timestamp: now - 40 * day });
  const retracted = await call('POST', '/api/v1/devices/d-one/telemetry/retractions', {
    json: { metric: 'metricTwo', from: now - 1000, to: now, reason: 'wrong' },
  });
  assert.equal(retracted.status, 202, retracted.text);
  const [, , last = ''] = (retracted.json.positions[0] as string).split(':');

  const bad = JSON.stringify([{ deviceId: 'd-parked', timestamp: 'never' }]);
  const copied = "SELECT ?, 1, json_set(body, '$.events', json(?)) FROM batches WHERE first_offset = 1";
  change(dataDir, 'telemetry.db', `INSERT INTO batches ${copied}`, Number(last) + 1, bad);
  const after = await send({ ...reading, timestamp: now + 1000 });
  const applied = await call('GET', `/api/v1/telemetry?waitFor=${after}&timeout=30s`);
  assert.equal(applied.status, 200, applied.text);
}

/** A first page of every query, and a second of some, in every format. */
async function query(call: Caller): Promise<void> {
  const ok = async (at: string, headers: Record<string, string> = {}) => {
    const reply = await call('GET', at, { headers });
    assert.ok(reply.status < 400, `GET ${at}: ${reply.text}`);
    return reply;
  };
  const device = '/api/v1/devices/d-one';
  await ok(device, { 'If-None-Match': '"0"' });
  await ok(`${device}/history?limit=1`);
  await ok('/api/v1/devices?limit=1');
  for (const Accept of ['application/json', 'application/x-ndjson', 'text/csv'])
    for (const at of [`${device}/telemetry`, '/api/v1/telemetry', '/api/v1/telemetry/latest'])
      for (const more of at.endsWith('latest') ? [''] : ['', '&interval=1m'])
        await ok(`${at}?limit=1${more}`, { Accept });
  await ok(`${device}/telemetry/latest`);
  await ok(`${device}/telemetry?asRecordedAt=${Date.now()}`);
  for (const at of ['/health/live', '/health/ready', '/docs', '/openapi.json', '/api/v1/status'])
    await ok(at);
}

/** What the API refuses, with all that its answers have beside what every problem has. */
async function refuse(call: Caller, narrow: string): Promise<void> {
  const refused = async (status: number, method: string, at: string, sent: Call = {}) => {
    const reply = await call(method, at, sent);
    assert.equal(reply.status, status, `${method} ${at}: ${reply.text}`);
    return reply;
  };
  const telemetry = '/api/v1/telemetry';
  const device = '/api/v1/devices/d-one';
  const reading = { deviceId: 'd-nobody', metrics: { metricOne: 1 } };
  await refused(400, 'POST', telemetry, { json: [reading, {}] });
  await refused(400, 'POST', '/api/v1/devices', { body: '{' });
  await refused(400, 'GET', '/api/v1/devices?limit=0');
  await refused(401, 'GET', '/api/v1/devices', { headers: { 'X-API-Key': 'none' } });
  await refused(403, 'POST', telemetry, { json: reading, headers: { 'X-API-Key': narrow } });
  const { json } = await call('POST', `/api/v1/devices/d-two/token`);
  const others = [reading, { ...reading, deviceId: 'd-two' }];
  await refused(403, 'POST', telemetry, { json: others, headers: { 'X-API-Key': json.token } });
  await refused(404, 'GET', '/api/v1/devices/d-nobody');
  await refused(404, 'GET', '/nowhere');
  await refused(405, 'DELETE', device);
  await refused(406, 'GET', telemetry, { headers: { Accept: 'text/html' } });
  await refused(409, 'POST', '/api/v1/devices', { json: { deviceId: 'd-one', name: 'x', type: 'x' } });
  await refused(409, 'POST', telemetry, { json: [reading, { ...reading, deviceId: 'd-suspended' }] });
  await refused(412, 'PATCH', device, { json: { name: 'x' }, headers: { 'If-Match': '"0"' } });
  await refused(413, 'POST', telemetry, { body: 'x'.repeat(bodyLimit + 1) });
  await refused(413, 'POST', telemetry, { body: `[${'1,'.repeat(6000)}1]` });
  await refused(415, 'POST', telemetry, { body: 'x', headers: { 'Content-Type': 'text/plain' } });
  const key = { 'Idempotency-Key': 'once' };
  await refused(422, 'POST', '/api/v1/devices', {
    json: { deviceId: 'd-one', name: 'x', type: 'x' },
    headers: key,
  });
  const many = Array.from({ length: 300 }, () => ({ ...reading, deviceId: 'd-two' }));
  await refused(202, 'POST', telemetry, { json: many });
  await refused(429, 'POST', telemetry, { json: many });
  await refused(503, 'GET', '/api/v1/devices?waitFor=devices:0:99999&timeout=1');
}

type Run = (line: string, expected?: number) => Promise<unknown>;

/** The commands about devices, which call the server. */
async function commandDevices(run: Run): Promise<void> {
  await run('devices register d-four --name Four --type pump --label labelOne=x');
  await run('devices set d-four --name 4');
  await run('devices suspend d-four --reason drifts');
  await run('devices reinstate d-four');
  await run('devices show d-four');
  await run('devices history d-one');
  await run('devices list');
  await run('devices decommission d-four --reason scrapped');
  await run('devices erase d-four --reason asked --yes');
  await run('devices erase d-nobody --reason asked --yes', 1);
  await run('devices list --none', 2);
  await run('status --url http://127.0.0.1:1', 3);
  await run('status');
}

/** What operators do: dead letters, rebuilds, audits, retention. */
async function operate(call: Caller, run: Run, dataDir: string): Promise<void> {
  await eventually(async () => {
    const { json } = await call('GET', '/api/v1/dead-letters');
    assert.equal(json.deadLetters.length, 1);
  });
  await run('dead-letters list');
  await run('dead-letters counts');
  await run('dead-letters show 1');
  await run('dead-letters retry --all', 1);
  await run('dead-letters discard 1 --reason wrong');
  await run('projections rebuild telemetry');
  await run('projections rebuild devices');
  for (const command of ['list', 'status devices', 'digest devices', 'pause devices', 'resume devices'])
    await run(`projections ${command}`);
  await run('projections rollback devices');
  await run('projections drop devices 2');
  await run('audit');
  change(dataDir, 'read-models.db', 'UPDATE retention_policies SET since = ?', Date.now() - day);
  await run('retention sweep');
  await run('retention preview');
  await run('retention show');
  const started = await call('POST', '/api/v1/projections/device_history/rebuild', { json: { throttle: 1 } });
  assert.equal(started.status, 202, started.text);
  const second = await call('POST', '/api/v1/projections/device_history/rebuild');
  assert.equal(second.status, 409, second.text);
}

/** Changes a file as another process that has it open. */
function change(
  dataDir: string,
  file: string,
  statement: string,
  ...values: readonly (string | number)[]
): void {
  assert.ok(existsSync(path.join(dataDir, file)), `${file} is a frozen name, and there is no such file`);
  const db = new DatabaseSync(path.join(dataDir, file), { timeout: 5000 });
  db.prepare(statement).run(...values);
  db.close();
}
