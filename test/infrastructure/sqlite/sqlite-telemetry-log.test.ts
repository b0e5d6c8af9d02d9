import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/telemetry-source.ts';
import { loggedTelemetrySourceContract } from '../../contracts/event-source.contract.ts';
import {
  newDevice,
  newPublication,
  reading,
  telemetryLogContract,
} from '../../contracts/telemetry-log.contract.ts';
import { reopenable } from './reopenable.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const quick = { retryPauses: [1, 1, 1] };
const open = () =>
  reopenable(({ telemetry }) => ({
    log: new SqliteTelemetryLog(telemetry),
    source: sqliteTelemetrySource(telemetry, quick),
  }));

telemetryLogContract('SqliteTelemetryLog', open);
loggedTelemetrySourceContract('SqliteSource of telemetry', open);

describe('SqliteTelemetryLog', () => {
  it('stores nothing for a publication without events', async () => {
    const opened = await open();
    assert.deepEqual(await opened.log.publish(newPublication([])), []);
    assert.deepEqual(await opened.source.ends(), new Map([[0, null]]));
    await opened.close();
  });

  it('when closed, commits what was asked for before and refuses the rest', async () => {
    const opened = await open();
    const published = opened.log.publish(newPublication([reading(newDevice(), 1)]));
    await opened.log.close();
    assert.deepEqual(await published, [{ partition: 0, position: '1' }]);
    await assert.rejects(
      opened.log.publish(newPublication([reading(newDevice(), 2)])),
      TelemetryLogUnavailable,
    );
    const { source } = await opened.reopen!();
    assert.deepEqual(await source.ends(), new Map([[0, '1']]));
    await opened.close();
  });

  it('rests once all is stored, and takes publications again', async () => {
    const opened = await open();
    const published = opened.log.publish(newPublication([reading(newDevice(), 1)]));
    await opened.log.rest();
    await opened.log.rest();
    assert.deepEqual(await published, [{ partition: 0, position: '1' }]);
    assert.deepEqual(await opened.log.publish(newPublication([reading(newDevice(), 2)])), [
      { partition: 0, position: '2' },
    ]);
    await opened.log.rest();
    await opened.close();
  });

  it('shares commits among publications, and gives each its own answer', async () => {
    const opened = await open();
    const device = newDevice();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        opened.log.publish(newPublication([reading(device, 2 * n), reading(device, 2 * n + 1)])),
      ),
    );
    assert.deepEqual(
      answers.map(([answer]) => answer?.position),
      Array.from({ length: 50 }, (_, n) => String(2 * n + 2)),
    );
    await opened.close();
  });
});

describe('SqliteTelemetryLog whose file cannot be written to', () => {
  it('says so to all who wait, keeps nothing, and continues once it can', async () => {
    const directory = temporaryDirectory();
    const { telemetry } = dataFiles(directory.path);
    const log = new SqliteTelemetryLog(telemetry);
    const other = new DatabaseSync(telemetry);
    other.exec('ALTER TABLE batches RENAME TO hidden');
    const refused = await Promise.allSettled(
      [1, 2].map((n) => log.publish(newPublication([reading(newDevice(), n)]))),
    );
    assert.deepEqual(
      refused.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    other.exec('ALTER TABLE hidden RENAME TO batches');
    other.close();
    assert.deepEqual(await log.publish(newPublication([reading(newDevice(), 3)])), [
      { partition: 0, position: '1' },
    ]);
    await log.close();
    directory.remove();
  });
});
