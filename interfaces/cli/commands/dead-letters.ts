import { userInfo } from 'node:os';
import { type Command, Option } from 'commander';
import type { DeadLetterSelector, Retried } from '../../../application/operations/dead-letters.ts';
import type { DeadLetterSummary, StoredDeadLetter } from '../../../application/ports/dead-letters.ts';
import { type ProjectionName, projectionNames } from '../../../application/projections/projection.ts';
import { causes, deadLetterJson } from '../../http/dead-letter-routes.ts';
import { type CommandContext, jsonOption, whole, withOperations } from '../command-context.ts';
import { exitCodes, exitCodesHelp, Refused, UsageError } from '../exit-codes.ts';
import { count, counted, printable, table } from '../terminal.ts';

const help = `
An event that a projection cannot apply waits here with the later events of its stream behind it; all other streams
go on. Works on the configured stores directly.

Examples:
  fieldlog dead-letters list --cause malformed
  fieldlog dead-letters show 12
  fieldlog dead-letters retry --all
  fieldlog dead-letters discard 12 --reason "Firmware 1.3 sent text"
`;

type Json = { readonly json: boolean };
type Chosen = Json & {
  readonly projection?: ProjectionName;
  readonly stream?: string;
  readonly all?: boolean;
};

const projectionOption = () =>
  new Option('--projection <name>', 'of this projection').choices(projectionNames);
const id = whole(1, Number.MAX_SAFE_INTEGER);

export function deadLettersCommand(program: Command, context: CommandContext): void {
  const letters = program
    .command('dead-letters')
    .description('List, show, retry and discard events that a projection could not apply')
    .addHelpText('after', help + exitCodesHelp);
  const add = (name: string, description: string, example: string) =>
    letters
      .command(name)
      .description(description)
      .addOption(jsonOption())
      .addHelpText(
        'after',
        `
Example:
  fieldlog dead-letters ${example}
${exitCodesHelp}`,
      );

  add('list', 'Those that wait, in the order they were parked', 'list --cause malformed')
    .addOption(projectionOption())
    .addOption(new Option('--cause <cause>', 'why they were parked').choices(causes))
    .option('--stream <stream>', 'of one stream, such as device-boiler-7')
    .option('--discarded', 'those that were discarded instead')
    .option('--limit <letters>', 'letters at most', whole(1, 100_000), 100)
    .option('--after <id>', 'those behind this one, which was the last of a page', id, 0)
    .action(({ json, limit, after, ...filter }: Json & { limit: number; after: number }) =>
      withOperations(context, 'dead-letters list', async (replay) => {
        const found = await replay.deadLetters.list(filter, { limit: limit + 1, after });
        const page = found.slice(0, limit);
        await answer(page.map(deadLetterJson), json, () => listText(page));
        if (found.length > limit)
          context.terminal.note(`There are more: --after ${page.at(-1)?.id} lists those behind`);
      }),
    );

  add('counts', 'How many wait and how many were discarded, by cause', 'counts').action(({ json }: Json) =>
    withOperations(context, 'dead-letters counts', async (replay) => {
      const counts = await replay.deadLetters.counts();
      const rows = counts.map((one) => [one.projection, one.cause, count(one.waiting), count(one.discarded)]);
      const headings = ['projection', 'cause', 'waiting', 'discarded'];
      await answer(counts, json, () =>
        rows.length === 0 ? 'There is none.\n' : table(headings, rows, headings.slice(2)),
      );
    }),
  );

  add('show', 'The event, what is wrong with it, and where it came from', 'show 12')
    .argument('<id>', 'as the list tells it', id)
    .action((one: number, { json }: Json) =>
      withOperations(context, 'dead-letters show', async (replay) => {
        const letter = await replay.deadLetters.find(one);
        if (!letter) throw new Refused(`There is no dead letter ${one}`);
        await answer(deadLetterJson(letter), json, () => letterText(letter));
      }),
    );

  add(
    'retry',
    'Apply one and those behind it, a stream, or all; a stream stops where one fails again',
    'retry --all',
  )
    .argument('[id]', 'as the list tells it', id)
    .addOption(projectionOption())
    .option('--stream <stream>', 'every letter of a stream')
    .option('--all', 'every letter there is')
    .action((one: number | undefined, options: Chosen) =>
      withOperations(context, 'dead-letters retry', async (replay) => {
        const retried: Retried[] = [];
        for (const choice of choices(one, options))
          for await (const stream of replay.deadLetterOperations.retry(choice)) retried.push(stream);
        if (retried.some(({ failed }) => failed)) context.exitCode = exitCodes.refused;
        await answer(retried, options.json, () => retriedText(retried));
      }),
    );

  add(
    'discard',
    'Give one up, or all of a stream; the ledger goes on counting them as dead-lettered',
    'discard 12 --reason "Firmware 1.3 sent text"',
  )
    .argument('[id]', 'as the list tells it', id)
    .addOption(projectionOption())
    .option('--stream <stream>', 'every letter of a stream')
    .requiredOption('--reason <text>', 'why, for those who audit')
    .action((one: number | undefined, { reason, ...options }: Chosen & { reason: string }) =>
      withOperations(context, 'dead-letters discard', async (replay) => {
        const by = userInfo().username;
        let discarded = 0;
        for (const choice of choices(one, options)) {
          if (!('id' in choice) && !('stream' in choice)) throw new UsageError(whichOne);
          discarded += await replay.deadLetterOperations.discard(choice, { by, reason });
        }
        await answer({ discarded }, options.json, () => `${counted(discarded, 'letter')} discarded.\n`);
      }),
    );

  async function answer(value: unknown, json: boolean, text: () => string): Promise<void> {
    await context.terminal.out(json ? `${JSON.stringify(value)}\n` : text());
  }
}

const whichOne = 'say which: an id, or --stream with --projection';

function choices(
  one: number | undefined,
  { projection, stream, all }: Chosen,
): readonly DeadLetterSelector[] {
  const given = [one, stream, all].filter((choice) => choice !== undefined);
  if (given.length !== 1) throw new UsageError(`${whichOne}, or --all`);
  if (one !== undefined) return [{ id: one }];
  if (stream === undefined)
    return (projection ? [projection] : projectionNames).map((name) => ({ projection: name }));
  if (projection === undefined)
    throw new UsageError('--stream needs --projection: a stream may wait in several');
  return [{ projection, stream }];
}

function listText(letters: readonly DeadLetterSummary[]): string {
  if (letters.length === 0) return 'There is none.\n';
  const rows = letters.map((one) => [
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

function letterText({ event, stack, discarded, ...letter }: StoredDeadLetter): string {
  const lines = Object.entries({
    ...letter,
    parkedAt: new Date(letter.parkedAt).toISOString(),
    ...(discarded && {
      discarded: `${new Date(discarded.at).toISOString()} by ${discarded.by}: ${discarded.reason}`,
    }),
    event: JSON.stringify(event),
  });
  const width = Math.max(...lines.map(([name]) => name.length));
  const told = lines.map(([name, value]) => `${name.padEnd(width)}  ${printable(String(value))}\n`).join('');
  return stack === null ? told : `${told}\n${stack.split('\n').map(printable).join('\n')}\n`;
}

function retriedText(retried: readonly Retried[]): string {
  if (retried.length === 0) return 'No dead letter waits.\n';
  const rows = retried.map(({ projection, stream, applied, failed }) => [
    projection,
    stream,
    count(applied),
    failed ? `stopped at ${failed.position}, ${failed.cause}: ${failed.error}` : 'free again',
  ]);
  return table(['projection', 'stream', 'applied', ''], rows, ['applied']);
}
