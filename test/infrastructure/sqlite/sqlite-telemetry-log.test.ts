import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/sqlite-telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/sqlite-telemetry-source.ts';
import { loggedTelemetrySourceContract } from '../../contracts/event-source.contract.ts';
import { telemetryLogContract } from '../../contracts/telemetry-log.contract.ts';
import { reopenable } from './reopenable.ts';

const quick = { retryPauses: [1, 1, 1] };
const open = () =>
  reopenable(({ telemetry }) => ({
    log: new SqliteTelemetryLog(telemetry),
    source: sqliteTelemetrySource(telemetry, quick),
  }));

telemetryLogContract('SqliteTelemetryLog', open);
loggedTelemetrySourceContract('SqliteSource of telemetry', open);
