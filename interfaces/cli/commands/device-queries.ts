import type { z } from 'zod';
import type { device, historyEntry } from '../../http/device-answers.ts';
import type { Query } from '../api-client.ts';
import type { CommandContext } from '../command-context.ts';
import { table } from '../format.ts';
import { each, type Label, label, whole } from '../options.ts';
import {
  type AddCommand,
  type ApiOptions,
  clientOf,
  deviceAddress,
  deviceText,
  labelText,
  type PositionedDevice,
} from './device-command.ts';

type Device = z.output<typeof device>;
type HistoryEntry = z.output<typeof historyEntry>;

type Limit = { readonly limit: number };
type Filter = {
  readonly status?: string;
  readonly type?: string;
  readonly label?: readonly Label[];
  readonly q?: string;
};

const pageSize = 1000;

export function deviceQueryCommands(add: AddCommand, context: CommandContext): void {
  add('list', 'Devices that are registered, by id', 'list --type boiler --label site=basement')
    .option('--status <status>', 'active, suspended, decommissioned or erased')
    .option('--type <type>', 'of this type')
    .option('--label <key=value>', 'with this label; repeat it to ask for several', each(label))
    .option('--q <text>', 'with this in their id or name')
    .option('--limit <devices>', 'devices at most', whole(1, 1_000_000), 100)
    .action(list);
  add('show <id>', 'One device, as it is or as it was', 'show boiler-7 --at 2026-03-29T00:00:00Z')
    .option('--at <moment>', 'a revision, or a time in ISO 8601')
    .action(show);
  add('history <id>', 'Who changed what of a device, and when', 'history boiler-7 --json')
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
    await answer(devices, () => table(['id', 'status', 'type', 'name', 'labels'], rows), options);
  }

  async function show(id: string, { at, ...options }: ApiOptions & { at?: string }): Promise<void> {
    const found = await clientOf(options, context).get<PositionedDevice>(deviceAddress(id), { at });
    await answer(found, () => deviceText(found), options);
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
    await answer(
      entries,
      () => table(['revision', 'at', 'event', 'changes', 'reason', 'actor'], rows),
      options,
    );
  }

  /** As many pages as the limit takes; says so when there are more. */
  async function pages<Row>(
    path: string,
    member: string,
    query: Query,
    options: ApiOptions & Limit,
  ): Promise<Row[]> {
    const client = clientOf(options, context);
    const rows: Row[] = [];
    for (let cursor: string | undefined; ; ) {
      const limit = Math.min(pageSize, options.limit - rows.length);
      const page = await client.get<Record<string, unknown>>(path, { ...query, limit, cursor });
      rows.push(...(page[member] as Row[]));
      if (typeof page.next !== 'string') return rows;
      if (rows.length >= options.limit) {
        context.terminal.note(`There are more: raise --limit ${options.limit}`);
        return rows;
      }
      cursor = page.next;
    }
  }

  async function answer(value: unknown, text: () => string, { json }: ApiOptions): Promise<void> {
    await context.terminal.out(json ? `${JSON.stringify(value)}\n` : text());
  }
}

function valueText(value: unknown): string {
  if (value === null) return 'nothing';
  return typeof value === 'object' ? labelText(value as Record<string, string>) || 'none' : String(value);
}
