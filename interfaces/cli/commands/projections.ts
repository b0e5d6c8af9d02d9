import type { Command } from 'commander';
import type { ProjectionReport, Replay } from '../../../application/operations/operations.ts';
import type { BuildProgress, GenerationDigest } from '../../../application/ports/generations.ts';
import { digestJson, projectionJson } from '../../http/replay-shapes.ts';
import { type CommandContext, withReplay } from '../command-context.ts';
import { exitCodes, exitCodesHelp, Refused } from '../exit-codes.ts';
import { count, seconds, table } from '../format.ts';
import { jsonOption, whole } from '../options.ts';
import { buildLine, generationRows, outcomeText, projectionRows } from './projection-texts.ts';

const help = `
Works on the configured stores directly: no server has to run, and any number may.

Examples:
  fieldlog projections list
  fieldlog projections rebuild telemetry
  fieldlog projections rebuild telemetry --device boiler-7
  fieldlog projections rollback telemetry
`;

type Json = { readonly json: boolean };
type Throttle = Json & { readonly throttle?: number };
type RebuildOptions = Throttle & { readonly device?: string; readonly keepOlder?: boolean };

export function projectionsCommand(program: Command, context: CommandContext): void {
  const projections = program
    .command('projections')
    .description('Rebuild read models from history while they are read, switch, go back, compare')
    .addHelpText('after', help + exitCodesHelp);
  const add = (name: string, description: string, example = name.replace('<name>', 'telemetry')) =>
    projections
      .command(name)
      .description(description)
      .addOption(jsonOption())
      .addHelpText(
        'after',
        `
Example:
  fieldlog projections ${example}
${exitCodesHelp}`,
      );
  const throttle = ['--throttle <events>', 'events a second at most', whole(1, 10_000_000)] as const;

  add('list', 'Every projection: its active generation, how far it has come, what is being built').action(
    (options: Json) =>
      replaying('projections list', async (replay) => {
        const all = await replay.list();
        await answer(all.map(projectionJson), () => table(...projectionRows(all)), options);
      }),
  );

  add('status <name>', 'Every generation of one projection, and how its last build ended').action(
    (name: string, options: Json) =>
      replaying('projections status', async (replay) => showOne(await one(replay, name), options)),
  );

  add(
    'rebuild <name>',
    'Build it anew beside the live one, compare, and switch when they are equal',
    'rebuild telemetry --throttle 20000',
  )
    .option('--device <id>', 'this device only, in place')
    .option(...throttle)
    .option('--keep-older', 'carry over readings that the log no longer has')
    .action((name: string, { device, keepOlder = false, ...options }: RebuildOptions) =>
      device === undefined
        ? build(`rebuild ${name}`, (replay, work) => replay.rebuild(name, { ...work, keepOlder }))(options)
        : rebuildDevice(name, device, keepOlder, options),
    );

  add('switch <name>', 'Make the generation that waits the active one, whatever differs')
    .option(...throttle)
    .action((name: string, options: Throttle) =>
      build(`switch of ${name}`, (replay, work) => replay.switchTo('ready', name, work))(options),
    );

  add('rollback <name>', 'Catch up the generation that was active before, and go back to it')
    .option(...throttle)
    .action((name: string, options: Throttle) =>
      build(`rollback of ${name}`, (replay, work) => replay.switchTo('retired', name, work))(options),
    );

  for (const [verb, paused] of [
    ['pause', true],
    ['resume', false],
  ] as const)
    add(`${verb} <name>`, paused ? 'Have workers leave it alone' : 'Have workers go on with it').action(
      (name: string, options: Json) =>
        replaying(`projections ${verb}`, async (replay) =>
          showOne(await replay.setPaused(name, paused), options),
        ),
    );

  add('drop <name>', 'Remove a generation that is not active', 'drop telemetry 1')
    .argument('<generation>', 'its number', whole(1, 1_000_000_000))
    .action((name: string, generation: number, options: Json) =>
      replaying(`drop of ${name}`, async (replay) => showOne(await replay.drop(name, generation), options)),
    );

  add('digest <name>', 'What a generation holds, told so that two databases can be compared')
    .option('--generation <number>', 'this one (default: the active one)', whole(1, 1_000_000_000))
    .action((name: string, options: Json & { generation?: number }) =>
      replaying('projections digest', async (replay) => {
        const digest = await replay.digest(name, options.generation);
        await answer(digestJson(digest), () => digestText(digest), options);
      }),
    );

  function build(
    doing: string,
    start: (replay: Replay, work: Parameters<Replay['rebuild']>[1]) => ReturnType<Replay['rebuild']>,
  ) {
    return ({ throttle: limit, ...options }: Throttle) =>
      replaying(doing, async (replay) => {
        const began = performance.now();
        const outcome = await withProgress((work) => start(replay, { ...work, throttle: limit }));
        if (!outcome.switched) context.exitCode = exitCodes.refused;
        await answer(outcome, () => outcomeText(outcome, seconds(performance.now() - began)), options);
      });
  }

  function rebuildDevice(
    name: string,
    deviceId: string,
    keepOlder: boolean,
    { throttle: limit, ...options }: Throttle,
  ): Promise<void> {
    return replaying(`rebuild of ${deviceId} in ${name}`, async (replay) => {
      const outcome = await withProgress((work) =>
        replay.rebuildDevice(name, deviceId, { ...work, keepOlder, throttle: limit }),
      );
      const text = () =>
        `${name}: the rows of ${deviceId} were built anew and put in place in generation ${outcome.generation}.\n`;
      await answer(outcome, text, options);
    });
  }

  /** In place on a terminal; elsewhere each phase by a line, and then now and again. */
  async function withProgress<T>(
    work: (options: Parameters<Replay['rebuild']>[1]) => Promise<T>,
  ): Promise<T> {
    const { terminal, signal } = context;
    const lineEvery = 10_000;
    let phase = '';
    let lastLine = 0;
    const onProgress = (progress: BuildProgress) => {
      const line = buildLine(progress);
      if (terminal.live) return terminal.status(line);
      const now = performance.now();
      if (progress.phase === phase && now - lastLine < lineEvery) return;
      phase = progress.phase;
      lastLine = now;
      terminal.note(line);
    };
    const onClaimed = ({ generation, resumed }: { generation: number; resumed: boolean }) =>
      terminal.note(resumed ? `Going on with generation ${generation}` : `Building generation ${generation}`);
    try {
      return await work({ signal, onProgress, onClaimed });
    } finally {
      terminal.status('');
    }
  }

  async function one(replay: Replay, name: string): Promise<ProjectionReport> {
    const all = await replay.list();
    const found = all.find(({ projection }) => projection === name);
    if (found) return found;
    const names = all.map(({ projection }) => projection).join(', ');
    throw new Refused(`There is no projection named ${name}: there are ${names}`);
  }

  function showOne(report: ProjectionReport, options: Json): Promise<void> {
    const text = () => `${table(...projectionRows([report]))}\n${table(...generationRows(report))}`;
    return answer(projectionJson(report), text, options);
  }

  const replaying = (doing: string, work: (replay: Replay) => Promise<void>) =>
    withReplay(context, doing, work);

  async function answer(value: unknown, text: () => string, { json }: Json): Promise<void> {
    await context.terminal.out(json ? `${JSON.stringify(value)}\n` : text());
  }
}

function digestText({ projection, generation, checkpoints, tables }: GenerationDigest): string {
  const at =
    [...checkpoints].map(([partition, position]) => `${partition}:${position}`).join(' ') || 'the beginning';
  const rows = tables.map((one) => [one.table, count(one.rows), one.digest]);
  return `${projection} generation ${generation} at ${at}\n\n${table(['table', 'rows', 'digest'], rows, ['rows'])}`;
}
