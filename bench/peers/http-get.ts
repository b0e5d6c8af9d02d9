import http from 'node:http';
import { serveCalls } from '../harness/peer.ts';
import { median } from '../harness/statistics.ts';

export type HttpGet = typeof calls;
const calls = { get };
serveCalls(calls);

const agent = new http.Agent({ keepAlive: true });

/** Gets an answer again and again, whole: the median time in milliseconds and how long the answer was. */
async function get({
  url,
  times,
  accept = 'application/json',
}: {
  url: string;
  times: number;
  accept?: string;
}) {
  const took: number[] = [];
  let bytes = 0;
  for (let i = 0; i < times; i += 1) {
    const began = performance.now();
    bytes = await answer(url, accept);
    took.push(performance.now() - began);
  }
  return { milliseconds: median(took), bytes };
}

function answer(url: string, accept: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, headers: { accept } }, (res) => {
      let bytes = 0;
      res.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      res.on('end', () =>
        res.statusCode === 200 ? resolve(bytes) : reject(new Error(`${url} answered ${res.statusCode}`)),
      );
    });
    request.on('error', reject);
  });
}
