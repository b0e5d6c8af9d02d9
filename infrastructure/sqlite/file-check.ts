import { DatabaseSync } from 'node:sqlite';
import { StorageFault } from '../../application/ports/storage.ts';
import { fileFault, remedyFor } from './errors.ts';

/**
 * Reads a whole file: `quick` finds pages that are not what they should be, otherwise indexes are compared with their
 * tables too. Answers with what is wrong and what to do, or `undefined`. Servers may be writing meanwhile.
 */
export function findDamage(path: string, how: 'quick' | 'full'): string | undefined {
  try {
    const db = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
    try {
      const pragma = how === 'quick' ? 'quick_check' : 'integrity_check';
      const [row] = db.prepare(`PRAGMA ${pragma}(1)`).all();
      const found = String(row?.[pragma]);
      return found === 'ok'
        ? undefined
        : `${path} is damaged (${found.replace(/\s+/g, ' ')}); ${remedyFor(path)}`;
    } finally {
      db.close();
    }
  } catch (error) {
    const fault = fileFault(error, path);
    if (fault instanceof StorageFault) return fault.reason;
    throw error;
  }
}
