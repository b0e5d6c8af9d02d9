import type { ApiClient } from './api-client.ts';

/** How far the log has come through what was sent: the last position of each partition. */
export type SentPositions = {
  add(positions: readonly string[]): void;
  /** Resolves once the read models hold all of it; the client's own patience decides when to give up. */
  untilProjected(client: ApiClient): Promise<void>;
};

const positionsInOneQuery = 100;

export function sentPositions(): SentPositions {
  const last = new Map<string, string>();
  return {
    add(positions) {
      for (const position of positions) last.set(position.slice(0, position.lastIndexOf(':')), position);
    },
    async untilProjected(client) {
      const waitFor = [...last.values()];
      for (let at = 0; at < waitFor.length; at += positionsInOneQuery)
        await client.get('/api/v1/telemetry/latest', {
          limit: 1,
          timeout: '10s',
          waitFor: waitFor.slice(at, at + positionsInOneQuery),
        });
    },
  };
}
