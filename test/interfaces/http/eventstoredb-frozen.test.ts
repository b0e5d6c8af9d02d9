import assert from 'node:assert/strict';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';
import { httpClient } from '../../support/http-client.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

// A call to the frozen server is given up after 5 s; an answer that waited for one would take that long.
const wellBelowADeadline = 2_000;

describe('An EventStoreDB server that is frozen', function () {
  this.timeout(60_000);
  let server: EventStoreDbDouble;
  let served: ServedFolder;

  beforeEach(async () => {
    server = await EventStoreDbDouble.start();
    served = await servedFolder({ EVENTSTORE_URL: server.url, LOG_LEVEL: 'silent' });
  });
  afterEach(async () => {
    server.faults.thaw();
    await served.close();
    await server.stop();
  });

  it('holds up no list, which leaves out the lag that it cannot know', async () => {
    const call = httpClient(served.url);
    const json = { deviceId: 'a', name: 'a', type: 'test' };
    const registered = await call('POST', '/api/v1/devices', { json });
    await call('GET', `/api/v1/devices?waitFor=${registered.json.position}`);
    server.faults.freeze();
    const paths = [
      '/api/v1/devices',
      '/api/v1/devices/a/history',
      '/api/v1/devices?waitFor=devices:0:99999999999999999999-0&timeout=0',
    ];
    for (const path of [...paths, ...paths]) {
      const began = performance.now();
      const { status, headers, text } = await call('GET', path);
      const took = performance.now() - began;
      assert.ok(took < wellBelowADeadline, `${path} took ${took} ms`);
      assert.equal(status, path.endsWith('timeout=0') ? 503 : 200, text);
      // A figure may be known from before the server froze.
      if (status === 200) assert.match(headers.get('Fieldlog-Lag') ?? '', /^(0|unknown)$/);
    }
    server.faults.thaw();
    await eventually(async () =>
      assert.equal((await call('GET', '/api/v1/devices')).headers.get('Fieldlog-Lag'), '0'),
    );
  });
});
