import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { pinoLog } from '../../../infrastructure/pino-log.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { httpContract } from '../../contracts/http.contract.ts';

httpContract('The embedded profile', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fieldlog-http-'));
  const served = await serve(configFrom({ PORT: '0', DATA_DIR: folder }), pinoLog('silent', 'serve'));
  return {
    url: served.url,
    async close() {
      await served.close();
      await rm(folder, { recursive: true });
    },
  };
});
