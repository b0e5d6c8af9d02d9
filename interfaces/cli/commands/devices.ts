import type { Command } from 'commander';
import type { z } from 'zod';
import type { device, historyEntrySchema, positionedDevice } from '../../http/device-schemas.ts';
import { printable } from '../../printable.ts';
import {
  type ApiCommands,
  type ApiOptions,
  apiCommands,
  ifMatch,
  type RevisionOption,
} from '../api-commands.ts';
import { type CommandContext, each, type Label, label, print, whole } from '../command-context.ts';
import { exitCodesHelp, Refused, UsageError } from '../exit-codes.ts';
import { fieldLines, table } from '../terminal.ts';

const examples = `
Examples:
  fieldlog devices register boiler-7 --name "Boiler 7" --type boiler --label site=basement
  fieldlog devices list --type boiler
  fieldlog devices suspend boiler-7 --reason "Sensor drifts"
  fieldlog devices history boiler-7
`;

export function devicesCommand(program: Command, context: CommandContext): void {
  const devices = program
    .command('devices')
    .description('Register, change, list and show devices')
    .addHelpText('after', examples + exitCodesHelp);
  const commands = apiCommands(devices, 'device', context);
  deviceQueryCommands(commands, context);
  deviceChangeCommands(commands, context);
}

type PositionedDevice = z.output<typeof positionedDevice>;

const deviceAddress = (id: string): string => `/api/v1/devices/${encodeURIComponent(id)}`;

function deviceText({ deviceId, labels, position: _, ...rest }: PositionedDevice): string {
  return fieldLines({ id: deviceId, ...rest, labels: labelText(labels) });
}

const labelText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');

type Details = { readonly name?: string; readonly type?: string; readonly label?: readonly Label[] | false };
type Reason = { readonly reason: string };

function deviceChangeCommands({ add, addChange, clientOf }: ApiCommands, context: CommandContext): void {
  add(
    'register [id]',
    'Register a device; the id is generated if omitted',
    'register boiler-7 --name "Boiler 7" --type boiler',
  )
    .requiredOption('--name <name>', 'its display name')
    .requiredOption('--type <type>', 'its type')
    .option('--label <key=value>', 'a label; repeatable', each(label))
    .action((deviceId: string | undefined, options: ApiOptions & Details) =>
      send('POST', '/api/v1/devices', { deviceId, ...detailsOf(options) }, options),
    );

  addChange('set <id>', 'Change name, type or labels', 'set boiler-7 --name "Boiler 7, left"')
    .option('--name <name>', 'the new name')
    .option('--type <type>', 'the new type')
    .option('--label <key=value>', 'a label; repeatable; replaces all labels', each(label))
    .option('--no-label', 'remove all labels')
    .action((id: string, options: ApiOptions & Details & RevisionOption) => {
      const details = detailsOf(options);
      if (Object.keys(details).length === 0)
        throw new UsageError('nothing to set: give --name, --type, --label or --no-label');
      return send('PATCH', deviceAddress(id), details, options);
    });

  addChange(
    'suspend <id>',
    'Suspend a device: its readings are rejected until it is reinstated',
    'suspend boiler-7 --reason "Sensor drifts"',
  )
    .requiredOption('--reason <text>', 'why; shown in its history')
    .action((id: string, options: ApiOptions & RevisionOption & Reason) =>
      send('POST', `${deviceAddress(id)}/suspend`, { reason: options.reason }, options),
    );

  addChange('reinstate <id>', 'Reinstate a suspended device', 'reinstate boiler-7').action(
    (id: string, options: ApiOptions & RevisionOption) =>
      send('POST', `${deviceAddress(id)}/reinstate`, {}, options),
  );

  addChange(
    'decommission <id>',
    'Decommission a device permanently: its readings are rejected',
    'decommission boiler-7 --reason Scrapped',
  )
    .requiredOption('--reason <text>', 'why; shown in its history')
    .action((id: string, options: ApiOptions & RevisionOption & Reason) =>
      send('POST', `${deviceAddress(id)}/decommission`, { reason: options.reason }, options),
    );

  addChange(
    'erase <id>',
    "Erase a device's personal data and telemetry (irreversible)",
    'erase boiler-7 --reason "Asked for by its owner"',
  )
    .requiredOption('--reason <text>', 'why; stored permanently, so without personal data')
    .option('--yes', 'without a question, which is asked on a terminal')
    .action(
      async (id: string, { yes, ...options }: ApiOptions & RevisionOption & Reason & { yes?: boolean }) => {
        const { confirm } = context.terminal;
        if (!yes && !confirm)
          throw new UsageError('erase cannot be undone: it needs --yes where no terminal can be asked');
        const question = `Erase everything personal of device ${printable(id)}? This cannot be undone.`;
        if (!yes && !(await confirm?.(question))) throw new Refused(`device ${id} was not erased`);
        await send('POST', `${deviceAddress(id)}/erase`, { reason: options.reason }, options);
      },
    );

  async function send(
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
    options: ApiOptions & RevisionOption,
  ): Promise<void> {
    const device = await clientOf(options).send<PositionedDevice>(method, path, body, ifMatch(options));
    await print(context, device, () => deviceText(device), options);
  }
}

function detailsOf({ name, type, label: labels }: Details): Record<string, unknown> {
  return {
    ...(name !== undefined && { name }),
    ...(type !== undefined && { type }),
    ...(labels !== undefined && { labels: Object.fromEntries(labels || []) }),
  };
}

type Device = z.output<typeof device>;
type HistoryEntry = z.output<typeof historyEntrySchema>;

type Limit = { readonly limit: number };
type Filter = {
  readonly status?: string;
  readonly type?: string;
  readonly label?: readonly Label[];
  readonly q?: string;
};

function deviceQueryCommands({ add, clientOf, pages }: ApiCommands, context: CommandContext): void {
  add('list', 'List registered devices by id', 'list --type boiler --label site=basement')
    .option('--status <status>', 'active, suspended, decommissioned or erased')
    .option('--type <type>', 'of this type')
    .option('--label <key=value>', 'with this label; repeatable', each(label))
    .option('--q <text>', 'with this text in their id or name')
    .option('--limit <devices>', 'devices at most', whole(1, 1_000_000), 100)
    .action(list);
  add('show <id>', 'Show a device, now or at a time or revision', 'show boiler-7 --at 2026-03-29T00:00:00Z')
    .option('--at <moment>', 'a revision, or a time in ISO 8601')
    .action(show);
  add('history <id>', 'Show the changes of a device, with actor and time', 'history boiler-7 --json')
    .option('--limit <changes>', 'changes at most', whole(1, 1_000_000), 100)
    .action(history);

  async function list({
    status,
    type,
    label: labels,
    q,
    ...options
  }: ApiOptions & Limit & Filter): Promise<void> {
    const filter = { status, type, q, label: labels?.map(([key, value]) => `${key}:${value}`) };
    const devices = await pages<Device>('/api/v1/devices', 'devices', filter, options);
    const rows = devices.map((one) => [one.deviceId, one.status, one.type, one.name, labelText(one.labels)]);
    await print(context, devices, () => table(['id', 'status', 'type', 'name', 'labels'], rows), options);
  }

  async function show(id: string, { at, ...options }: ApiOptions & { at?: string }): Promise<void> {
    const found = await clientOf(options).get<PositionedDevice>(deviceAddress(id), { at });
    await print(context, found, () => deviceText(found), options);
  }

  async function history(id: string, options: ApiOptions & Limit): Promise<void> {
    const entries = await pages<HistoryEntry>(`${deviceAddress(id)}/history`, 'history', {}, options);
    const rows = entries.map(({ revision, at, event, changes, reason, actor }) => [
      String(revision),
      at,
      event,
      changes.map(({ field, from, to }) => `${field}: ${valueText(from)} → ${valueText(to)}`).join('; '),
      reason ?? '',
      actor,
    ]);
    await print(
      context,
      entries,
      () => table(['revision', 'at', 'event', 'changes', 'reason', 'actor'], rows),
      options,
    );
  }
}

function valueText(value: unknown): string {
  if (value === null) return 'nothing';
  return typeof value === 'object' ? labelText(value as Record<string, string>) || 'none' : String(value);
}
