import type { ProjectionReport } from '../../../application/operations/operations.ts';
import type { BuildProgress, GenerationState } from '../../../application/ports/generations.ts';
import type { RebuildOutcome } from '../../../application/rebuild/rebuild.ts';
import { count, seconds, table } from '../format.ts';

type Table = Parameters<typeof table>;

export function projectionRows(reports: readonly ProjectionReport[]): Table {
  const rows = reports.map(({ projection, active, generations, codeVersion, checkpoints, lag, paused }) => {
    const building = generations.find(({ runner }) => runner !== null);
    return [
      projection,
      String(active),
      String(generations.find(({ generation }) => generation === active)?.version ?? ''),
      String(codeVersion),
      checkpoints.map(({ partition, position }) => `${partition}:${position}`).join(' ') || '-',
      lag === null ? 'unknown' : count(lag),
      paused ? 'paused' : building ? `building ${building.generation}` : 'running',
    ];
  });
  const headings = ['projection', 'active', 'version', "code's version", 'consumed up to', 'lag', 'state'];
  return [headings, rows, ['lag']];
}

export function generationRows({ generations }: ProjectionReport): Table {
  const rows = generations.map((one) => [
    String(one.generation),
    String(one.version),
    one.device === null ? one.status : `${one.status} for ${one.device}`,
    one.runner ?? '-',
    lastBuild(one),
    new Date(one.createdAt).toISOString(),
  ]);
  return [['generation', 'version', 'status', 'built by', 'last build', 'made at'], rows];
}

function lastBuild({ outcome, progress, runner }: GenerationState): string {
  if (runner !== null && progress) return buildLine(progress);
  if (outcome?.result === 'failed') return `failed: ${outcome.error}`;
  return outcome ? outcome.result : '-';
}

/** `catch-up: 812,345 of 1,000,000 events (81%), 96,120/s, 2.0 s left`. */
export function buildLine({ phase, done, total, rate }: BuildProgress): string {
  const share = total === 0 ? 100 : Math.floor((100 * done) / total);
  const left = rate === 0 || done >= total ? '' : `, ${seconds(((total - done) / rate) * 1000)} left`;
  return `${phase}: ${count(done)} of ${count(total)} events (${share}%), ${count(rate)}/s${left}`;
}

export function outcomeText(outcome: RebuildOutcome, took: string): string {
  const { projection, generation, replaced, switched, comparison } = outcome;
  const rows = comparison.tables.map((one) => [
    one.table,
    count(one.rows.active),
    count(one.rows.next),
    one.equal ? 'equal' : 'different',
  ]);
  const headings = ['table', `generation ${replaced}`, `generation ${generation}`, ''];
  const compared = table(headings, rows, headings.slice(1, 3));
  const where = comparison.samePosition ? '' : ' Compared at different positions, since one stands still.\n';
  const verdict = switched
    ? `Switched from generation ${replaced} to ${generation} in ${took}. To go back: fieldlog projections rollback ${projection}\n`
    : `Not switched: the tables differ at the same position. Generation ${generation} waits; to take it all the ` +
      `same: fieldlog projections switch ${projection}; to remove it: fieldlog projections drop ${projection} ${generation}\n`;
  return `${compared}${where}${verdict}`;
}
