import { readFileSync } from 'node:fs';
import { StartupError } from '../startup-error.ts';

/** The text of the file that a variable names. Throws a `StartupError` that names the variable. */
export function fileNamedBy(variable: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new StartupError(`${variable} names ${file}, which cannot be read: ${(error as Error).message}`);
  }
}
