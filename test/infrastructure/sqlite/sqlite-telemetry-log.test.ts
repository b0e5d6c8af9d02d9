import assert from 'node:assert/strict';
import { TelemetryLogUnavailable } from '../../../application/ports/telemetry-log.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/sqlite-telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/sqlite-telemetry-source.ts';
import { loggedTelemetrySourceContract } from '../../contracts/event-source.contract.ts';
import {
  newDevice,
  newPublication,
  reading,
  telemetryLogContract,
} from '../../contracts/telemetry-log.contract.ts';
import { reopenable } from './reopenable.ts';

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
});
