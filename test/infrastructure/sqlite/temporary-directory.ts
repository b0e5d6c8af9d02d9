import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';

/** A new directory, and how to get rid of it. */
export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'fieldlog-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A new data folder for each test of a suite. */
export class DataFolders {
  path = '';
  files: ReturnType<typeof dataFiles> = { events: '', telemetry: '', readModels: '', access: '' };

  constructor() {
    let remove: () => void;
    beforeEach(() => {
      ({ path: this.path, remove } = temporaryDirectory());
      this.files = dataFiles(this.path);
    });
    afterEach(() => remove());
  }
}
