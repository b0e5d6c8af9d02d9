import type { Request } from 'express';
import { HttpProblem } from '../http/problems.ts';
import { abortOnClose, RequestAborted } from '../http/request-context.ts';
import { type Route, route } from '../http/route.ts';
import { queryOf } from '../http/validation.ts';
import { importEvent, importParameters } from './import-schemas.ts';
import { InputFile } from './input-file.ts';
import type { ImportServices } from './intake-sink.ts';

/**
 * Imports a file by the importer of the command line. The body is written to a temporary file, since it is read twice,
 * and one file at a time is imported in a process. `most` bytes, and as many decompressed.
 */
export function importRoute(services: ImportServices, most: number): Route {
  let isRunning = false;
  return route({
    method: 'post',
    path: '/api/v1/import',
    scope: 'telemetry:write',
    scopesOf: (url) =>
      queryOf(url).register === 'false' ? ['telemetry:write'] : ['telemetry:write', 'devices:write'],
    boundKeys: 'each-device',
    tag: 'Telemetry',
    summary: 'Import a file of readings',
    description:
      'CSV, JSON or Parquet, known by content as to `fieldlog import`: docs/import.md. The answer is NDJSON: progress, refused lines and a report at its end. Where no report comes, what was sent before is stored, and the file can be sent again. With `register` the key needs `devices:write` as well.',
    query: importParameters,
    body: {
      as: 'bytes',
      description: `A file of at most ${most} bytes, whatever its \`Content-Type\`. May be compressed by gzip or zstd.`,
      types: ['application/octet-stream'],
    },
    responses: {
      200: { description: 'A line for each event.', content: { 'application/x-ndjson': importEvent } },
    },
    problems: ['too-many-imports'],
    async handle({ req, res, query, context }) {
      if (isRunning)
        throw new HttpProblem('too-many-imports', 'Another file is being imported; try again', {
          headers: { 'Retry-After': '5' },
        });
      isRunning = true;
      const signal = abortOnClose(res);
      try {
        const input = await received(req, query.file, most, signal);
        try {
          // The importer is much of what there is to load, and few send files.
          const { importInto } = await import('./import-answer.ts');
          await importInto(res, input, query, { services, context, signal, most });
        } finally {
          await input.close();
        }
      } finally {
        isRunning = false;
      }
      // Last, so that whoever has the whole answer may send the next file.
      res.end();
      return undefined;
    },
  });
}

const received = (req: Request, name: string, most: number, signal: AbortSignal): Promise<InputFile> =>
  InputFile.received(name, bodyOf(req, most), signal);

async function* bodyOf(req: Request, most: number): AsyncGenerator<Buffer> {
  const tooLarge = () =>
    new HttpProblem('body-too-large', `The file must have at most ${most} bytes: fieldlog import takes any`, {
      members: { limit: most },
      headers: { Connection: 'close' },
    });
  if (Number(req.headers['content-length'] ?? 0) > most) throw tooLarge();
  let size = 0;
  try {
    for await (const chunk of req) {
      size += chunk.length;
      if (size > most) throw tooLarge();
      yield chunk;
    }
  } catch (cause) {
    throw cause instanceof HttpProblem ? cause : new RequestAborted('The caller went away', { cause });
  }
}
