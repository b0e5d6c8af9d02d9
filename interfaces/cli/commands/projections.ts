import type { Command } from 'commander';
import type { Operations, ProjectionReport } from '../../../application/operations/operations.ts';
import type {
  BuildProgress,
  GenerationDigest,
  GenerationState,
} from '../../../application/ports/generations.ts';
import type { RebuildOutcome } from '../../../application/rebuild/rebuild.ts';
import { digestJson, projectionJson } from '../../http/operation-schemas.ts';
import { type CommandContext, jsonOption, whole, withOperations } from '../command-context.ts';
import { exitCodes, exitCodesHelp, Refused } from '../exit-codes.ts';
import { count, seconds, table } from '../terminal.ts';

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
    start: (
      replay: Operations,
      work: Parameters<Operations['rebuild']>[1],
    ) => ReturnType<Operations['rebuild']>,
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
    work: (options: Parameters<Operations['rebuild']>[1]) => Promise<T>,
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

  async function one(replay: Operations, name: string): Promise<ProjectionReport> {
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

  const replaying = (doing: string, work: (replay: Operations) => Promise<void>) =>
    withOperations(context, doing, work);

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

type Table = Parameters<typeof table>;

function projectionRows(reports: readonly ProjectionReport[]): Table {
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

function generationRows({ generations }: ProjectionReport): Table {
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
function buildLine({ phase, done, total, rate }: BuildProgress): string {
  const share = total === 0 ? 100 : Math.floor((100 * done) / total);
  const left = rate === 0 || done >= total ? '' : `, ${seconds(((total - done) / rate) * 1000)} left`;
  return `${phase}: ${count(done)} of ${count(total)} events (${share}%), ${count(rate)}/s${left}`;
}

function outcomeText(outcome: RebuildOutcome, took: string): string {
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
