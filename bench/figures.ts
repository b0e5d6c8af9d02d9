import { ingestEmbedded } from './figures/ingest-embedded.ts';
import { projectEmbedded } from './figures/project-embedded.ts';
import type { Bench } from './harness/bench.ts';
import type { Pending, Row } from './harness/row.ts';

type Figure = {
  readonly part: string;
  readonly file: string;
  /** Taken in the distributed profile only. */
  readonly needsServers?: true;
  readonly measure: (bench: Bench) => Promise<readonly (Row | Pending)[]>;
};

export const figures: readonly Figure[] = [
  { part: 'ingest', file: 'ingest-embedded', measure: ingestEmbedded },
  { part: 'project', file: 'project-embedded', measure: projectEmbedded },
];

export const parts: readonly string[] = [...new Set(figures.map(({ part }) => part))];
