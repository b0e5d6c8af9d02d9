import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import type { Opened } from '../../contracts/opened.ts';
import { temporaryDirectory } from './temporary-directory.ts';

type Closable = { close(): Promise<void> };

/** What `construct` opens in a directory of its own, for a contract suite. */
export async function reopenable<Ports extends Record<string, Closable>>(
  construct: (files: ReturnType<typeof dataFiles>) => Ports,
): Promise<Opened<Ports>> {
  const directory = temporaryDirectory();
  let ports = construct(dataFiles(directory.path));
  const closePorts = async () => {
    await Promise.all(Object.values(ports).map((port) => port.close()));
  };
  return {
    ...ports,
    async close() {
      await closePorts();
      directory.remove();
    },
    async reopen() {
      await closePorts();
      ports = construct(dataFiles(directory.path));
      return ports;
    },
  };
}
