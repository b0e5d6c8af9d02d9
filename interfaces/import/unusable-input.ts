import { StorageFault } from '../../application/ports/storage.ts';

/** The file, or what was said of it, does not say enough to import it; the message says what would. */
export class UnusableInput extends Error {
  override readonly name = 'UnusableInput';
}

/** An import keeps what can be read only once, and what earlier lines said, in files of its own. */
export const temporaryDiskFull = (cause: unknown): StorageFault =>
  new StorageFault(
    'full',
    'The disk of temporary files is full, which an import needs: free some space there, or set TMPDIR to a folder with more',
    { cause },
  );
