import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { configFrom } from '../../infrastructure/config/config.ts';
import { openLog } from '../../interfaces/composition/process.ts';
import { serve } from '../../interfaces/composition/roles.ts';

export type ServedFolder = { readonly url: string; readonly folder: string; close(): Promise<void> };

/** Everything in this process, on a free port and a folder of its own that goes away with it. */
export async function servedFolder(env: Readonly<Record<string, string>> = {}): Promise<ServedFolder> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-served-'));
  const served = await serve(configFrom({ PORT: '0', DATA_DIR: folder, ...env }), openLog('silent', 'serve'));
  return {
    url: served.url,
    folder,
    async close() {
      await served.close();
      await rm(folder, { recursive: true });
    },
  };
}
