import type { Command } from 'commander';
import { type SystemStatus, systemStatus } from '../../../application/operations/status.ts';
import { apiClient } from '../api-client.ts';
import {
  type CommandContext,
  clientOptions,
  jsonOption,
  localUrl,
  print,
  urlOption,
  withSession,
} from '../command-context.ts';
import { exitCodesHelp, ServerUnavailable } from '../exit-codes.ts';
import { count, formatLag, table } from '../terminal.ts';
import { retentionText } from './retention.ts';

const help = `
Asks the server at --url. Without --url it asks the one on this machine, or reads the configured stores directly if
none responds.

Lag is how many events of the log a projection has not consumed yet. The ledger counts each reading once: as stored,
as a duplicate of one that was there, as a correction of one that was there, as dead-lettered, or as late: older
than its points are kept when it came.

Examples:
  fieldlog status
  fieldlog status --url http://127.0.0.1:9000 --json
`;

export function statusCommand(program: Command, context: CommandContext): void {
  program
    .command('status')
    .description('Show projection lag, dead letters and the ledger')
    .addOption(urlOption('the server to ask'))
    .addOption(jsonOption())
    .addHelpText('after', help + exitCodesHelp)
    .action(async ({ url, json }: { url?: string; json?: boolean }) => {
      const status = await (url === undefined ? nearestStatus(context) : serverStatus(url, context));
      await print(context, status, () => statusText(status), { json });
    });
}

const serverStatus = (url: string, context: CommandContext): Promise<SystemStatus> =>
  apiClient(url, clientOptions(context)).get('/api/v1/status');

async function nearestStatus(context: CommandContext): Promise<SystemStatus> {
  try {
    return await serverStatus(localUrl(context), context);
  } catch (error) {
    if (!(error instanceof ServerUnavailable)) throw error;
  }
  return withSession(context, 'status', ({ progress, freshness, retention }) =>
    systemStatus(progress, freshness, retention),
  );
}

function statusText({ projections, ledger, retention, writeAheadLog }: SystemStatus): string {
  const rows = projections.map(({ projection, generation, positions, lag, lagIsAtLeast, deadLetters }) => [
    projection,
    String(generation),
    positions.join(' ') || '-',
    formatLag(lag, lagIsAtLeast),
    Object.entries(deadLetters)
      .map(([cause, waiting]) => `${count(waiting)} ${cause}`)
      .join(', ') || '0',
  ]);
  const { stored, duplicate, corrected, deadLettered, late, retracted, expired } = ledger;
  const lines = { stored, duplicate, corrected, 'dead-lettered': deadLettered, late, retracted, expired };
  const columns = ['projection', 'generation', 'consumed up to', 'lag', 'dead letters'];
  const ledgerRows = Object.entries(lines).map(([status, readings]) => [status, count(readings)]);
  return `${table(columns, rows, ['lag'])}\n${table(['ledger', 'readings'], ledgerRows, ['readings'])}${retentionText(retention)}${heldText(writeAheadLog)}`;
}

const heldText = (log: SystemStatus['writeAheadLog']): string =>
  log?.isHeld
    ? `\nThe write-ahead log of read-models.db has ${count(log.bytes)} bytes: a transaction that reads it, such as an analyst's, is open and has to end.\n`
    : '';
