import path from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { DeviceBounds } from '../../../application/device-bounds.ts';
import { type ApiKey, type Scope, scopes } from '../../../application/ports/api-keys.ts';
import { isDeviceId } from '../../../domain/telemetry.ts';
import type { Config } from '../../../infrastructure/config/config.ts';
import type { ApiKeyOperations } from '../../composition/application.ts';
import { isoTimeForm, parseIsoTime } from '../../http/iso-time.ts';
import {
  type CommandContext,
  describeStores,
  each,
  jsonOption,
  type Label,
  label,
  withApplication,
} from '../command-context.ts';
import type { Creates } from '../data-folder.ts';
import { exitCodesHelp, Refused, UsageError } from '../exit-codes.ts';
import { serverOf } from '../running-servers.ts';
import { table } from '../terminal.ts';

type CreateOptions = {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly expires?: number;
  readonly onlyPrefix?: string;
  readonly onlyType?: string;
  readonly onlyLabel?: readonly Label[];
};

const help = `
Works on the configured read models directly; running servers follow within five seconds. Once there is a key, every
request needs one, and the server may listen on addresses other than loopback.

Scopes: ${scopes.join(', ')}; docs/security.md says what each allows.

Examples:
  fieldlog keys create --name gateway-1 --scopes telemetry:write
  fieldlog keys create --name analyst --scopes devices:read,telemetry:read --expires 90d
  fieldlog keys create --name customer-a --scopes devices:read,telemetry:read --only-label customer=a
  fieldlog keys list
  fieldlog keys revoke gateway-1
`;

export function keysCommand(program: Command, context: CommandContext): void {
  const keys = program
    .command('keys')
    .description('Create, list and revoke API keys')
    .addHelpText('after', help + exitCodesHelp);
  const add = (name: string, description: string, example: string) =>
    keys
      .command(name)
      .description(description)
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  fieldlog keys ${example}\n${exitCodesHelp}`);

  add('create', 'Create a key and show its secret once', 'create --name gateway-1 --scopes telemetry:write')
    .requiredOption('--name <name>', 'name of its owner, recorded as the actor of its requests', keyName)
    .requiredOption('--scopes <scope,...>', `permissions: ${scopes.join(', ')}`, scopeList)
    .option('--expires <when>', 'when it expires: 90d, 12h, or a time in ISO 8601', expiry)
    .option('--only-prefix <text>', 'only for devices whose id begins with it', idPrefix)
    .option('--only-type <type>', 'only for devices of this type', notEmpty)
    .option('--only-label <key=value>', 'only for devices with this label, may be repeated', each(label))
    .action((options: CreateOptions & { json?: boolean }) => {
      const only = boundsOf(options);
      if (only !== null && options.scopes.includes('operate'))
        throw new UsageError('the scope operate is for the whole fleet: leave it out, or --only-…');
      return withKeys(
        context,
        (keys, config) => create(keys, config, only, options),
        'unless-served-elsewhere',
      );
    });

  add('list', 'List all keys, without their secrets', 'list --json').action(({ json }: { json?: boolean }) =>
    withKeys(context, async (keys) => {
      const found = (await keys.list()).map(keyJson);
      await context.terminal.out(json ? `${JSON.stringify(found)}\n` : keyTable(found));
    }),
  );

  add('revoke <name>', 'Revoke a key permanently', 'revoke gateway-1').action(
    (name: string, { json }: { json?: boolean }) =>
      withKeys(context, async (keys) => {
        if (!(await keys.revoke(name))) throw new Refused(`there is no key ${name}`);
        await context.terminal.out(
          json ? `${JSON.stringify({ name, revoked: true })}\n` : `${name} is revoked\n`,
        );
      }),
  );

  async function create(
    keys: ApiKeyOperations,
    config: Config,
    only: DeviceBounds | null,
    { json, name, scopes, expires }: CreateOptions & { json?: boolean },
  ) {
    const created = await keys.create({ name, scopes, only, expiresAt: expires ?? null });
    if (!created)
      throw new Refused(`there is or was a key ${name}, and names are not reused: choose another`);
    const { key, secret } = created;
    await context.terminal.out(
      json ? `${JSON.stringify({ ...keyJson(key), key: secret })}\n` : `${secret}\n`,
    );
    if (json) return;
    context.terminal.note('Store it now: it is not shown again, only its hash is stored.');
    context.terminal.note(whereStored(config));
  }
}

const withKeys = (
  context: CommandContext,
  work: (keys: ApiKeyOperations, config: Config) => Promise<void>,
  creates?: Creates,
): Promise<void> =>
  withApplication(
    context,
    'keys',
    async (application, config) => work(await application.keys(), config),
    creates,
    ['events.db', 'read-models.db'],
  );

function whereStored(config: Config): string {
  if (config.MYSQL_URL !== undefined) return `It is valid for servers with ${describeStores(config)}.`;
  const server = serverOf(config.DATA_DIR);
  const who = server
    ? `the server at ${server.url} takes it within five seconds`
    : 'no server runs on this folder now';
  return `It is stored in ${path.resolve(config.DATA_DIR)}; ${who}.`;
}

const keyJson = ({ name, scopes, only, createdAt, expiresAt, revokedAt }: ApiKey) => ({
  name,
  scopes,
  only,
  createdAt: iso(createdAt),
  expiresAt: iso(expiresAt),
  revokedAt: iso(revokedAt),
});

const keyTable = (keys: readonly ReturnType<typeof keyJson>[]): string =>
  table(
    ['name', 'scopes', 'only', 'created', 'expires', 'revoked'],
    keys.map(({ name, scopes, only, createdAt, expiresAt, revokedAt }) => [
      name,
      scopes.join(','),
      boundsText(only),
      createdAt ?? '',
      expiresAt ?? 'never',
      revokedAt ?? '',
    ]),
  );

const boundsText = (only: DeviceBounds | null): string =>
  [
    ...(only?.idPrefix === undefined ? [] : [`${only.idPrefix}*`]),
    ...(only?.type === undefined ? [] : [`type ${only.type}`]),
    ...Object.entries(only?.labels ?? {}).map(([key, value]) => `${key}=${value}`),
  ].join(', ') || 'all';

function boundsOf({
  onlyPrefix,
  onlyType,
  onlyLabel = [],
}: Pick<CreateOptions, 'onlyPrefix' | 'onlyType' | 'onlyLabel'>): DeviceBounds | null {
  const labels = Object.fromEntries(onlyLabel);
  if (Object.keys(labels).length < onlyLabel.length)
    throw new UsageError('--only-label names a key twice, and a device has one value for it');
  const bounds = {
    ...(onlyPrefix !== undefined && { idPrefix: onlyPrefix }),
    ...(onlyType !== undefined && { type: onlyType }),
    ...(onlyLabel.length > 0 && { labels }),
  };
  return Object.keys(bounds).length > 0 ? bounds : null;
}

function idPrefix(text: string): string {
  if (isDeviceId(text)) return text;
  throw new InvalidArgumentError('It must be how an id of a device begins.');
}

function notEmpty(text: string): string {
  if (text !== '') return text;
  throw new InvalidArgumentError('It must not be empty.');
}

const iso = (time: number | null): string | null => (time === null ? null : new Date(time).toISOString());

function keyName(text: string): string {
  if (/^[A-Za-z0-9][\w.@-]{0,63}$/.test(text) && text !== 'anonymous') return text;
  throw new InvalidArgumentError(
    'It must be letters, digits and . _ @ - , starting with a letter or digit, at most 64, and not "anonymous".',
  );
}

function scopeList(text: string): readonly Scope[] {
  const names = [...new Set(text.split(','))];
  const known = names.flatMap((name) => scopes.filter((scope) => scope === name));
  if (known.length === names.length) return known;
  throw new InvalidArgumentError(`It must be some of ${scopes.join(', ')}, with commas between them.`);
}

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

function expiry(text: string): number {
  const [, number, unit = ''] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const time = number === undefined ? parseIsoTime(text) : Date.now() + Number(number) * (units[unit] ?? 0);
  if (time !== undefined && time > Date.now()) return time;
  throw new InvalidArgumentError(
    `It must be such as 90d, 12h or 30m, or a time to come in ISO 8601, ${isoTimeForm}.`,
  );
}
