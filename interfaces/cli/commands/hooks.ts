import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { z } from 'zod';
import type { createdHook, deliveryAnswer, hookAnswer, hookTestAnswer } from '../../http/hook-schemas.ts';
import {
  type ApiCommands,
  type ApiOptions,
  apiCommands,
  ifMatch,
  type RevisionOption,
} from '../api-commands.ts';
import { type CommandContext, print, whole } from '../command-context.ts';
import { exitCodes, exitCodesHelp, UsageError } from '../exit-codes.ts';
import { fieldLines, table } from '../terminal.ts';

const help = `
Alarms of rules that name a hook in notify are posted to its address, signed with its secret. The secret is shown once,
when the hook is created. docs/detection.md has the form of the requests.

Examples:
  fieldlog hooks create https://hooks.example/alarms --id on-call
  fieldlog hooks test on-call
  fieldlog hooks deliveries on-call --state failed
  fieldlog hooks retry on-call
`;

type Hook = z.output<typeof hookAnswer>;
type Delivery = z.output<typeof deliveryAnswer>;

export function hooksCommand(program: Command, context: CommandContext): void {
  const hooks = program
    .command('hooks')
    .description('Create, change and list the hooks that alarms are sent to, and retry failed deliveries')
    .addHelpText('after', help + exitCodesHelp);
  const commands = apiCommands(hooks, 'hook', context);
  addChanges(commands, context);
  addQueries(commands, context);
  addDeliveries(commands, context);
}

function addChanges({ add, addChange, clientOf }: ApiCommands, context: CommandContext): void {
  const show = showing(context);
  add(
    'create <address>',
    'Create a hook, and show its secret once',
    'create https://hooks.example/alarms --id on-call',
  )
    .option('--id <id>', 'the id that rules name it by; generated when absent')
    .option('--kind <kind>', 'webhook, or alertmanager with the address of one', 'webhook')
    .option('--secret-file <file>', 'a file with the secret, whsec_…; generated when absent')
    .action(
      async (
        url: string,
        { id, kind, secretFile, ...options }: ApiOptions & { id?: string; kind: string; secretFile?: string },
      ) => {
        const named = id === undefined ? {} : { hookId: id };
        const body = { url, kind, ...named, ...(await secretOf(secretFile)) };
        const hook = await clientOf(options).send<z.output<typeof createdHook>>(
          'POST',
          '/api/v1/hooks',
          body,
        );
        await show(hook, options);
      },
    );

  addChange(
    'change <id>',
    'Change the address or the secret of a hook',
    'change on-call --secret-file new-secret',
  )
    .option('--address <url>', 'the new address')
    .option('--secret-file <file>', 'a file with the new secret, whsec_…')
    .action(
      async (
        id: string,
        {
          address,
          secretFile,
          ...options
        }: ApiOptions & RevisionOption & { address?: string; secretFile?: string },
      ) => {
        const body = { ...(address !== undefined && { url: address }), ...(await secretOf(secretFile)) };
        if (Object.keys(body).length === 0) throw new UsageError('give --address or --secret-file, or both');
        const hook = await clientOf(options).send<Hook>('PATCH', addressOf(id), body, ifMatch(options));
        await show(hook, options);
      },
    );

  for (const [action, description] of Object.entries(actions))
    addChange(`${action} <id>`, description, `${action} on-call`).action(
      async (id: string, options: ApiOptions & RevisionOption) => {
        const path = `${addressOf(id)}/${action}`;
        await show(await clientOf(options).send<Hook>('POST', path, {}, ifMatch(options)), options);
      },
    );
}

function addQueries({ add, clientOf }: ApiCommands, context: CommandContext): void {
  const show = showing(context);
  add('list', 'List hooks in order of creation', 'list --json').action(async (options: ApiOptions) => {
    const { hooks: found } = await clientOf(options).get<{ hooks: Hook[] }>('/api/v1/hooks');
    const rows = found.map(({ hookId, kind, status, url }) => [hookId, kind, status, url]);
    await print(context, found, () => table(['id', 'kind', 'status', 'address'], rows), options);
  });

  add('show <id>', 'Show a hook, without its secret', 'show on-call').action(
    async (id: string, options: ApiOptions) =>
      show(await clientOf(options).get<Hook>(addressOf(id)), options),
  );
}

function addDeliveries({ add, clientOf }: ApiCommands, context: CommandContext): void {
  add('test <id>', 'Send a hook a test message; exit code 1 when it is not delivered', 'test on-call').action(
    async (id: string, options: ApiOptions) => {
      const path = `${addressOf(id)}/test`;
      const answer = await clientOf(options).send<z.output<typeof hookTestAnswer>>('POST', path, {});
      if (!answer.delivered) context.exitCode = exitCodes.refused;
      const { status, error } = answer;
      const text = error === null ? `delivered: the receiver answered ${status}` : `not delivered: ${error}`;
      await print(context, answer, () => `${text}\n`, options);
    },
  );

  add(
    'deliveries <id>',
    'List what was not delivered to a hook, the oldest first',
    'deliveries on-call --state failed',
  )
    .option(
      '--state <state>',
      'waiting, failed, silenced, gathering, or repeating: delivered, and sent again',
    )
    .option('--after <delivery>', 'those after this one', whole(1, Number.MAX_SAFE_INTEGER))
    .option('--limit <deliveries>', 'deliveries at most', whole(1, 1000), 100)
    .action(
      async (
        id: string,
        { state, after, limit, ...options }: ApiOptions & { state?: string; after?: number; limit: number },
      ) => {
        const { deliveries } = await clientOf(options).get<{ deliveries: Delivery[] }>(
          `${addressOf(id)}/deliveries`,
          { state, after, limit },
        );
        const rows = deliveries.map((one) => [
          String(one.deliveryId),
          one.state,
          one.change,
          one.alarmId ?? '',
          String(one.tries),
          one.dueAt ?? '',
          one.error ?? '',
        ]);
        const headings = ['id', 'state', 'change', 'alarm', 'tries', 'next try', 'error'];
        await print(context, deliveries, () => table(headings, rows), options);
      },
    );

  add('retry <id>', 'Retry failed deliveries of a hook: all, or one', 'retry on-call --delivery 17')
    .option('--delivery <id>', 'only this one', whole(1, Number.MAX_SAFE_INTEGER))
    .action(async (id: string, { delivery, ...options }: ApiOptions & { delivery?: number }) => {
      const body = delivery === undefined ? {} : { deliveryId: delivery };
      const path = `${addressOf(id)}/deliveries/retry`;
      const answer = await clientOf(options).send<{ retried: number }>('POST', path, body);
      await print(context, answer, () => `${answer.retried} to be sent again\n`, options);
    });
}

const showing = (context: CommandContext) => (hook: Hook, options: ApiOptions) =>
  print(context, hook, () => hookText(hook), options);

const actions = {
  enable: 'Enable a hook',
  disable: 'Disable a hook: what would be sent to it fails, and can be retried',
  remove: 'Remove a hook permanently, with what was not delivered to it',
} as const;

const addressOf = (id: string): string => `/api/v1/hooks/${encodeURIComponent(id)}`;

/** Not an option by itself, which others on the machine would see. */
async function secretOf(file: string | undefined): Promise<{ readonly secret?: string }> {
  if (file === undefined) return {};
  const text = await readFile(file, 'utf8').catch((error) => {
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}`);
  });
  return { secret: text.trim() };
}

const hookText = ({ hookId, ...hook }: Hook): string => fieldLines({ id: hookId, ...hook });
