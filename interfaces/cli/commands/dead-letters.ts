import { userInfo } from 'node:os';
import { type Command, Option } from 'commander';
import type { DeadLetterSelector, Retried } from '../../../application/operations/dead-letters.ts';
import type { DeadLetterSummary, StoredDeadLetter } from '../../../application/ports/dead-letters.ts';
import { type ProjectionName, projectionNames } from '../../../application/projections/projection.ts';
import { causes, deadLetterJson } from '../../http/dead-letter-routes.ts';
import { printable } from '../../printable.ts';
import { type CommandContext, jsonOption, print, whole, withOperations } from '../command-context.ts';
import { exitCodes, exitCodesHelp, Refused, UsageError } from '../exit-codes.ts';
import { count, counted, fieldLines, table } from '../terminal.ts';

const help = `
An event that a projection cannot apply is stored as a dead letter, with the later events of its stream behind it; all
other streams continue. Works on the configured stores directly.

Examples:
  fieldlog dead-letters list --cause malformed
  fieldlog dead-letters show 12
  fieldlog dead-letters retry --all
  fieldlog dead-letters discard 12 --reason "Firmware 1.3 sent text"
`;

type Json = { readonly json: boolean };
type Selection = Json & {
  readonly projection?: ProjectionName;
  readonly stream?: string;
  readonly all?: boolean;
};

/** Adds one command on dead letters; `example` is what it may look like. */
type Add = (name: string, description: string, example: string) => Command;

const projectionOption = () =>
  new Option('--projection <name>', 'of this projection').choices(projectionNames);
const id = whole(1, Number.MAX_SAFE_INTEGER);
const idHelp = 'the id in the list';

export function deadLettersCommand(program: Command, context: CommandContext): void {
  const deadLetters = program
    .command('dead-letters')
    .description('List, show, retry and discard events that a projection could not apply')
    .addHelpText('after', help + exitCodesHelp);
  const add: Add = (name, description, example) =>
    deadLetters
      .command(name)
      .description(description)
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  fieldlog dead-letters ${example}\n${exitCodesHelp}`);
  addQueries(add, context);
  addRetry(add, context);
  addDiscard(add, context);
}

function addQueries(add: Add, context: CommandContext): void {
  add('list', 'List dead letters in the order they were stored', 'list --cause malformed')
    .addOption(projectionOption())
    .addOption(new Option('--cause <cause>', 'of this cause').choices(causes))
    .option('--stream <stream>', 'of one stream, such as device-boiler-7')
    .option('--discarded', 'those that were discarded instead')
    .option('--limit <number>', 'dead letters at most', whole(1, 100_000), 100)
    .option('--after <id>', 'those after this id, the last one of the previous page', id, 0)
    .action(({ json, limit, after, ...filter }: Json & { limit: number; after: number }) =>
      withOperations(context, 'dead-letters list', async ({ deadLetters }) => {
        const found = await deadLetters.list(filter, { limit: limit + 1, after });
        const page = found.slice(0, limit);
        await print(context, page.map(deadLetterJson), () => listText(page), { json });
        if (found.length > limit)
          context.terminal.note(`There are more: --after ${page.at(-1)?.id} lists the next ones`);
      }),
    );

  add('counts', 'Count waiting and discarded dead letters by cause', 'counts').action((options: Json) =>
    withOperations(context, 'dead-letters counts', async ({ deadLetters }) => {
      const counts = await deadLetters.counts();
      const rows = counts.map((one) => [one.projection, one.cause, count(one.waiting), count(one.discarded)]);
      const headings = ['projection', 'cause', 'waiting', 'discarded'];
      const text = () => (rows.length === 0 ? noneText : table(headings, rows, headings.slice(2)));
      await print(context, counts, text, options);
    }),
  );

  add('show', 'Show the event, the error and its origin', 'show 12')
    .argument('<id>', idHelp, id)
    .action((wanted: number, options: Json) =>
      withOperations(context, 'dead-letters show', async ({ deadLetters }) => {
        const found = await deadLetters.find(wanted);
        if (!found) throw new Refused(`There is no dead letter ${wanted}`);
        await print(context, deadLetterJson(found), () => deadLetterText(found), options);
      }),
    );
}

function addRetry(add: Add, context: CommandContext): void {
  add(
    'retry',
    'Apply one with those behind it, a stream, or all; a stream stops at the first that fails again',
    'retry --all',
  )
    .argument('[id]', idHelp, id)
    .addOption(projectionOption())
    .option('--stream <stream>', 'all dead letters of a stream')
    .option('--all', 'all dead letters')
    .action((one: number | undefined, options: Selection) =>
      withOperations(context, 'dead-letters retry', async ({ deadLetterOperations }) => {
        const retried: Retried[] = [];
        for (const selector of selectors(one, options))
          for await (const stream of deadLetterOperations.retry(selector)) retried.push(stream);
        if (retried.some(({ failed }) => failed)) context.exitCode = exitCodes.refused;
        await print(context, retried, () => retriedText(retried), options);
      }),
    );
}

function addDiscard(add: Add, context: CommandContext): void {
  add(
    'discard',
    'Discard one, or all of a stream; the ledger still counts them as dead-lettered',
    'discard 12 --reason "Firmware 1.3 sent text"',
  )
    .argument('[id]', idHelp, id)
    .addOption(projectionOption())
    .option('--stream <stream>', 'all dead letters of a stream')
    .requiredOption('--reason <text>', 'why, for later audits')
    .action((one: number | undefined, { reason, ...options }: Selection & { reason: string }) =>
      withOperations(context, 'dead-letters discard', async ({ deadLetterOperations }) => {
        const by = userInfo().username;
        let discarded = 0;
        for (const selector of selectors(one, options)) {
          if (!('id' in selector) && !('stream' in selector)) throw new UsageError(whichOne);
          discarded += await deadLetterOperations.discard(selector, { by, reason });
        }
        const text = () => `${counted(discarded, 'dead letter')} discarded.\n`;
        await print(context, { discarded }, text, options);
      }),
    );
}

const noneText = 'There are no dead letters.\n';
const whichOne = 'say which: an id, or --stream with --projection';

function selectors(
  one: number | undefined,
  { projection, stream, all }: Selection,
): readonly DeadLetterSelector[] {
  const given = [one, stream, all].filter((option) => option !== undefined);
  if (given.length !== 1) throw new UsageError(`${whichOne}, or --all`);
  if (one !== undefined) return [{ id: one }];
  if (stream === undefined)
    return (projection ? [projection] : projectionNames).map((name) => ({ projection: name }));
  if (projection === undefined)
    throw new UsageError('--stream needs --projection: a stream may have dead letters in several');
  return [{ projection, stream }];
}

function listText(deadLetters: readonly DeadLetterSummary[]): string {
  if (deadLetters.length === 0) return noneText;
  const rows = deadLetters.map((one) => [
    String(one.id),
    one.projection,
    one.stream,
    `${one.partition}:${one.position}`,
    one.eventType,
    one.cause,
    new Date(one.parkedAt).toISOString(),
    one.discarded ? `discarded by ${one.discarded.by}: ${one.discarded.reason}` : one.error,
  ]);
  return table(['id', 'projection', 'stream', 'position', 'event', 'cause', 'parked at', 'error'], rows);
}

function deadLetterText({ event, stack, discarded, ...deadLetter }: StoredDeadLetter): string {
  const text = fieldLines({
    ...deadLetter,
    parkedAt: new Date(deadLetter.parkedAt).toISOString(),
    ...(discarded && {
      discarded: `${new Date(discarded.at).toISOString()} by ${discarded.by}: ${discarded.reason}`,
    }),
    event: JSON.stringify(event),
  });
  return stack === null ? text : `${text}\n${stack.split('\n').map(printable).join('\n')}\n`;
}

function retriedText(retried: readonly Retried[]): string {
  if (retried.length === 0) return noneText;
  const rows = retried.map(({ projection, stream, applied, failed }) => [
    projection,
    stream,
    count(applied),
    failed ? `stopped at ${failed.position}, ${failed.cause}: ${failed.error}` : 'free again',
  ]);
  return table(['projection', 'stream', 'applied', ''], rows, ['applied']);
}
