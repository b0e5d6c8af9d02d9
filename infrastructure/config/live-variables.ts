import { z } from 'zod';

const count = (most: number) => z.coerce.number().int().min(1).max(most);

/** Bounds of live streams. */
export const liveVariables = {
  LIVE_STREAMS: count(100_000).default(1000).describe('live streams of one process at most'),
  LIVE_STREAMS_PER_KEY: count(100_000)
    .default(20)
    .describe('live streams of one API key in one process at most'),
};
