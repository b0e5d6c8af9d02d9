import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { EventStoreDbEventStore } from '../../../infrastructure/eventstoredb/event-store.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { selfSigned } from '../../support/self-signed.ts';
import { temporaryDirectory } from '../sqlite/temporary-directory.ts';

describe('EventStoreDB by TLS', () => {
  const folder = temporaryDirectory();
  const caFile = (cert: string) => {
    const file = path.join(folder.path, 'ca.pem');
    writeFileSync(file, cert);
    return file;
  };
  const certificate = selfSigned();
  let server: EventStoreDbDouble;
  let connection: EventStoreDbConnection | undefined;

  before(async () => {
    server = await EventStoreDbDouble.start({ certificate });
  });
  after(async () => {
    await server.stop();
    folder.remove();
  });
  afterEach(() => connection?.close());

  const store = (ca: string) => {
    connection = new EventStoreDbConnection(`${server.url}&tlsCAFile=${caFile(ca)}`, {
      deadlineMs: 1000,
      patienceMs: 0,
    });
    return new EventStoreDbEventStore(connection);
  };

  it('is written to and read when its certificate stems from the file the URL names', async () => {
    const events = store(certificate.cert);
    const stream = newStream();
    await events.append(stream, [newEvent()], 'none');
    assert.equal((await events.read(stream)).length, 1);
  });

  it('is not spoken to when it stems from somebody else', () =>
    assert.rejects(store(selfSigned().cert).read(newStream()), { name: 'EventStoreUnavailable' }));

  it('cannot be configured with a file that is not there', async () => {
    assert.throws(() => new EventStoreDbConnection(`${server.url}&tlsCAFile=/nowhere`), /not found/);
  });
});
