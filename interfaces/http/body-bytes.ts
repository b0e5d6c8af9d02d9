import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { HttpProblem } from './problems.ts';
import { RequestAborted } from './request-aborted.ts';

const inflate = promisify(gunzip);

/** The whole body, inflated when it came as gzip; at most `limit` bytes before and after. */
export async function bodyBytes(req: IncomingMessage, limit: number): Promise<Buffer> {
  const coding = req.headers['content-encoding'];
  if (coding === undefined || coding === 'identity') return sentBytes(req, limit);
  if (coding.toLowerCase() !== 'gzip')
    throw new HttpProblem('unsupported-media-type', 'Content-Encoding must be gzip or absent', {
      headers: { 'Accept-Encoding': 'gzip' },
    });
  const compressed = await sentBytes(req, limit);
  try {
    return await inflate(compressed, { maxOutputLength: limit });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limit);
    throw new HttpProblem('malformed-encoding', 'The body is not gzip as Content-Encoding says');
  }
}

/**
 * Most bodies come in one chunk, which is then the answer as it is. Of a body that is too large, as much again is
 * read and dropped before the refusal: most clients see an answer only once they have sent everything.
 */
function sentBytes(req: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else {
        chunks.length = 0;
        if (size > 2 * limit) reject(tooLarge(limit, { Connection: 'close' }));
      }
    });
    req.on('end', () => {
      if (size > limit) reject(tooLarge(limit));
      else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    });
    req.on('error', (cause) => reject(new RequestAborted('The caller went away', { cause })));
  });
}

const tooLarge = (limit: number, headers = {}): HttpProblem =>
  new HttpProblem('body-too-large', `The body must have at most ${limit} bytes, inflated`, {
    members: { limit },
    headers,
  });
