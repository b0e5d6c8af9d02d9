import type { Command } from 'commander';
import type { Operations, ProjectionReport } from '../../../application/operations/operations.ts';
import type {
  BuildProgress,
  GenerationDigest,
  GenerationState,
} from '../../../application/ports/generations.ts';
import type { RebuildOutcome } from '../../../application/rebuild/rebuild.ts';
import { digestJson, projectionJson } from '../../http/operation-schemas.ts';
import { collectingWarnings, warningsText } from '../collected-warnings.ts';
import { type CommandContext, jsonOption, print, whole, withOperations } from '../command-context.ts';
import { exitCodes, exitCodesHelp, Refused } from '../exit-codes.ts';
import { count, formatLag, seconds, table } from '../terminal.ts';

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

/** Adds one command on projections; `example` is what it may look like. */
type Add = (name: string, description: string, example?: string) => Command;

type BuildOptions = NonNullable<Parameters<Operations['rebuild']>[1]>;

export function projectionsCommand(program: Command, context: CommandContext): void {
  const projections = program
    .command('projections')
    .description('List, rebuild, switch, roll back, pause and compare read models, while they are read')
    .addHelpText('after', help + exitCodesHelp);
  const add: Add = (name, description, example = name.replace('<name>', 'telemetry')) =>
    projections
      .command(name)
      .description(description)
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  fieldlog projections ${example}\n${exitCodesHelp}`);
  addQueries(add, context);
  addBuilds(add, context);
  addControls(add, context);
}

function addQueries(add: Add, context: CommandContext): void {
  add('list', 'List projections with active generation, checkpoints, lag and builds').action(
    (options: Json) =>
      withOperations(context, 'projections list', async (operations) => {
        const all = await operations.list();
        await print(context, all.map(projectionJson), () => table(...projectionRows(all)), options);
      }),
  );

  add('status <name>', 'Show every generation of a projection and how its last build ended').action(
    (name: string, options: Json) =>
      withOperations(context, 'projections status', async (operations) =>
        showReport(context, await reportOf(operations, name), options),
      ),
  );

  add('digest <name>', 'Show a digest of the rows of a generation, to compare databases')
    .option('--generation <number>', 'this one (default: the active one)', whole(1, 1_000_000_000))
    .action((name: string, options: Json & { generation?: number }) =>
      withOperations(context, 'projections digest', async (operations) => {
        const digest = await operations.digest(name, options.generation);
        await print(context, digestJson(digest), () => digestText(digest), options);
      }),
    );
}

function addBuilds(add: Add, context: CommandContext): void {
  const throttle = ['--throttle <events>', 'events per second at most', whole(1, 10_000_000)] as const;

  add(
    'rebuild <name>',
    'Build a new generation beside the live one, compare them, and switch when they are equal',
    'rebuild telemetry --throttle 20000',
  )
    .option('--device <id>', 'this device only, in place')
    .option(...throttle)
    .option('--keep-older', 'copy readings that the log no longer has')
    .action((name: string, { device, keepOlder = false, ...options }: RebuildOptions) =>
      device === undefined
        ? build(context, `rebuild ${name}`, options, (operations, work) =>
            operations.rebuild(name, { ...work, keepOlder }),
          )
        : rebuildDevice(context, name, device, keepOlder, options),
    );

  add('switch <name>', 'Make the generation that is ready the active one, whatever differs')
    .option(...throttle)
    .action((name: string, options: Throttle) =>
      build(context, `switch of ${name}`, options, (operations, work) =>
        operations.switchTo('ready', name, work),
      ),
    );

  add('rollback <name>', 'Catch up the previously active generation and switch back to it')
    .option(...throttle)
    .action((name: string, options: Throttle) =>
      build(context, `rollback of ${name}`, options, (operations, work) =>
        operations.switchTo('retired', name, work),
      ),
    );
}

function addControls(add: Add, context: CommandContext): void {
  for (const [verb, paused, description] of [
    ['pause', true, 'Pause the projection'],
    ['resume', false, 'Resume the projection'],
  ] as const)
    add(`${verb} <name>`, description).action((name: string, options: Json) =>
      withOperations(context, `projections ${verb}`, async (operations) =>
        showReport(context, await operations.setPaused(name, paused), options),
      ),
    );

  add('drop <name>', 'Remove a generation that is not active', 'drop telemetry 1')
    .argument('<generation>', 'its number', whole(1, 1_000_000_000))
    .action((name: string, generation: number, options: Json) =>
      withOperations(context, `drop of ${name}`, async (operations) =>
        showReport(context, await operations.drop(name, generation), options),
      ),
    );
}

/** Warnings are summed up when the work is over, however that was. */
async function withBuildOperations(
  context: CommandContext,
  doing: string,
  work: (operations: Operations) => Promise<void>,
): Promise<void> {
  const collected = collectingWarnings(context);
  try {
    await withOperations(collected.context, doing, work);
  } finally {
    const text = warningsText(collected.warnings);
    if (text !== undefined) context.terminal.note(text);
  }
}

function build(
  context: CommandContext,
  doing: string,
  { throttle, ...options }: Throttle,
  start: (operations: Operations, work: BuildOptions) => Promise<RebuildOutcome>,
): Promise<void> {
  return withBuildOperations(context, doing, async (operations) => {
    const began = performance.now();
    const outcome = await withProgress(context, (work) => start(operations, { ...work, throttle }));
    if (!outcome.switched) context.exitCode = exitCodes.refused;
    const text = () => outcomeText(outcome, seconds(performance.now() - began));
    await print(context, outcome, text, options);
  });
}

function rebuildDevice(
  context: CommandContext,
  name: string,
  deviceId: string,
  keepOlder: boolean,
  { throttle, ...options }: Throttle,
): Promise<void> {
  return withBuildOperations(context, `rebuild of ${deviceId} in ${name}`, async (operations) => {
    const outcome = await withProgress(context, (work) =>
      operations.rebuildDevice(name, deviceId, { ...work, keepOlder, throttle }),
    );
    const text = () => `${name}: replaced the rows of ${deviceId} in generation ${outcome.generation}.\n`;
    await print(context, outcome, text, options);
  });
}

const lineEvery = 10_000;

/** In place on a terminal; elsewhere a line for each phase, and one every ten seconds. */
async function withProgress<T>(
  { terminal, signal }: CommandContext,
  work: (options: BuildOptions) => Promise<T>,
): Promise<T> {
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
    terminal.note(`${resumed ? 'Resuming' : 'Building'} generation ${generation}`);
  try {
    return await work({ signal, onProgress, onClaimed });
  } finally {
    terminal.status('');
  }
}

async function reportOf(operations: Operations, name: string): Promise<ProjectionReport> {
  const all = await operations.list();
  const found = all.find(({ projection }) => projection === name);
  if (found) return found;
  const names = all.map(({ projection }) => projection).join(', ');
  throw new Refused(`There is no projection named ${name}: there are ${names}`);
}

function showReport(context: CommandContext, report: ProjectionReport, options: Json): Promise<void> {
  const refusal = report.refused === null ? '' : `${report.refused}\n\n`;
  const text = () => `${table(...projectionRows([report]))}\n${refusal}${table(...generationRows(report))}`;
  return print(context, projectionJson(report), text, options);
}

function digestText({ projection, generation, checkpoints, tables }: GenerationDigest): string {
  const at =
    [...checkpoints].map(([partition, position]) => `${partition}:${position}`).join(' ') || 'the beginning';
  const rows = tables.map((one) => [one.table, count(one.rows), one.digest]);
  return `${projection} generation ${generation} at ${at}\n\n${table(['table', 'rows', 'digest'], rows, ['rows'])}`;
}

type Table = Parameters<typeof table>;

function projectionRows(reports: readonly ProjectionReport[]): Table {
  const rows = reports.map((report) => {
    const { projection, active, generations, codeVersion, checkpoints, lag, lagIsAtLeast } = report;
    return [
      projection,
      String(active),
      String(generations.find(({ generation }) => generation === active)?.version ?? ''),
      String(codeVersion),
      checkpoints.map(({ partition, position }) => `${partition}:${position}`).join(' ') || '-',
      formatLag(lag, lagIsAtLeast),
      stateOf(report),
    ];
  });
  const headings = ['projection', 'active', 'version', "code's version", 'consumed up to', 'lag', 'state'];
  return [headings, rows, ['lag']];
}

function stateOf({ paused, refused, generations }: ProjectionReport): string {
  const building = generations.find(({ runner }) => runner !== null);
  if (paused) return 'paused';
  if (building) return `building ${building.generation}`;
  return refused === null ? 'running' : 'refused';
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
  const { projection, generation, replaced, switched, comparison, dropped } = outcome;
  const rows = comparison.tables.map((one) => [
    one.table,
    count(one.rows.active),
    count(one.rows.next),
    one.equal ? 'equal' : 'different',
  ]);
  const headings = ['table', `generation ${replaced}`, `generation ${generation}`, ''];
  const compared = table(headings, rows, headings.slice(1, 3));
  const where = comparison.samePosition
    ? ''
    : ' Compared at different positions, since one of them is stalled.\n';
  const wayBack = dropped.includes(replaced)
    ? ''
    : ` To go back: fieldlog projections rollback ${projection}`;
  const verdict = switched
    ? `Switched from generation ${replaced} to ${generation} in ${took}.${wayBack}\n`
    : `Not switched: the tables differ at the same position. Generation ${generation} is ready; to switch ` +
      `anyway: fieldlog projections switch ${projection}; to remove it: fieldlog projections drop ${projection} ${generation}\n`;
  const gone = dropped.map((one) => `Dropped generation ${one}: one too many to keep.\n`).join('');
  return `${compared}${where}${verdict}${gone}`;
}
