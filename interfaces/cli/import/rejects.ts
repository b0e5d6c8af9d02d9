import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { UsageError } from '../exit-codes.ts';
import type { RefusedLine } from './counts.ts';

/** Keeps refused lines with what they held, as NDJSON. */
export type Rejects = {
  write(line: RefusedLine, record: Readonly<Record<string, unknown>> | undefined): Promise<void>;
  close(): Promise<void>;
};

export const noRejects: Rejects = { write: async () => {}, close: async () => {} };

/** Throws `UsageError` when the file cannot be made. */
export async function openRejects(path: string): Promise<Rejects> {
  const stream = createWriteStream(path);
  await once(stream, 'open').catch(({ code }: NodeJS.ErrnoException) => {
    throw new UsageError(`${path} cannot be written: ${code}`);
  });
  const ended = finished(stream);
  ended.catch(() => {});
  return {
    async write(line, record) {
      if (!stream.write(`${JSON.stringify({ ...line, record })}\n`))
        await Promise.race([once(stream, 'drain'), ended]);
    },
    async close() {
      stream.end();
      await ended;
    },
  };
}
