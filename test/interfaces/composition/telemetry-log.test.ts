import assert from 'node:assert/strict';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { openContainer } from '../../../interfaces/composition/container.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { temporaryDirectory } from '../../infrastructure/sqlite/temporary-directory.ts';
import { quiet } from '../../support/replay-fixture.ts';

describe('The telemetry log of the embedded profile', () => {
  let folder: ReturnType<typeof temporaryDirectory>;
  beforeEach(() => {
    folder = temporaryDirectory();
  });
  afterEach(() => folder.remove());

  for (const BACKLOG_LIMIT of ['0', '1000'])
    it(`counts publications when BACKLOG_LIMIT is ${BACKLOG_LIMIT}`, async () => {
      const config = configFrom({ DATA_DIR: folder.path, BACKLOG_LIMIT });
      const container = await openContainer(config, quiet, { role: 'serve' });
      try {
        const log = await container.getAsync(s.telemetryLog);
        await log.publish(newPublication([reading(newDevice(), 1)]));
        const text = await container.get(s.metrics).metrics();
        assert.match(text, /^fieldlog_publish_seconds_count\{outcome="durable"\} 1$/m);
        assert.match(text, /^fieldlog_publish_waiting 0$/m);
      } finally {
        await container.unbindAllAsync();
      }
    });
});
