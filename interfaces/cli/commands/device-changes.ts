import type { CommandContext } from '../command-context.ts';
import { UsageError } from '../exit-codes.ts';
import { each, type Label, label, whole } from '../options.ts';
import {
  type AddCommand,
  type ApiOptions,
  clientOf,
  deviceAddress,
  deviceText,
  type PositionedDevice,
} from './device-command.ts';

type Details = { readonly name?: string; readonly type?: string; readonly label?: readonly Label[] | false };
type Condition = { readonly ifRevision?: number };
type Reason = { readonly reason: string };

export function deviceChangeCommands(add: AddCommand, context: CommandContext): void {
  add(
    'register [id]',
    'Register a device; one without an id is given one',
    'register boiler-7 --name "Boiler 7" --type boiler',
  )
    .requiredOption('--name <name>', 'what people call it')
    .requiredOption('--type <type>', 'what kind of device it is')
    .option('--label <key=value>', 'a label; repeat it', each(label))
    .action((deviceId: string | undefined, options: ApiOptions & Details) =>
      send('POST', '/api/v1/devices', { deviceId, ...detailsOf(options) }, options),
    );

  change('set <id>', 'Change name, type or labels', 'set boiler-7 --name "Boiler 7, left"')
    .option('--name <name>', 'the new name')
    .option('--type <type>', 'the new type')
    .option('--label <key=value>', 'a label; repeat it; these replace all there were', each(label))
    .option('--no-label', 'take all labels off')
    .action((id: string, options: ApiOptions & Details & Condition) => {
      const details = detailsOf(options);
      if (Object.keys(details).length === 0)
        throw new UsageError('say what to set: --name, --type, --label or --no-label');
      return send('PATCH', deviceAddress(id), details, options);
    });

  change(
    'suspend <id>',
    'Refuse its readings until it is reinstated',
    'suspend boiler-7 --reason "Sensor drifts"',
  )
    .requiredOption('--reason <text>', 'why, for those who read the history')
    .action((id: string, options: ApiOptions & Condition & Reason) =>
      send('POST', `${deviceAddress(id)}/suspend`, { reason: options.reason }, options),
    );

  change('reinstate <id>', 'Take the readings of a suspended device again', 'reinstate boiler-7').action(
    (id: string, options: ApiOptions & Condition) =>
      send('POST', `${deviceAddress(id)}/reinstate`, {}, options),
  );

  change('decommission <id>', 'Refuse its readings, for good', 'decommission boiler-7 --reason Scrapped')
    .requiredOption('--reason <text>', 'why, for those who read the history')
    .action((id: string, options: ApiOptions & Condition & Reason) =>
      send('POST', `${deviceAddress(id)}/decommission`, { reason: options.reason }, options),
    );

  change(
    'erase <id>',
    'Have everything personal of it forgotten, its telemetry too, for good',
    'erase boiler-7 --reason "Asked for by its owner"',
  )
    .requiredOption('--reason <text>', 'why; it is kept, so say nothing personal in it')
    .action((id: string, options: ApiOptions & Condition & Reason) =>
      send('POST', `${deviceAddress(id)}/erase`, { reason: options.reason }, options),
    );

  function change(...what: Parameters<AddCommand>) {
    return add(...what).option(
      '--if-revision <revision>',
      'only if the device still stands at this revision',
      whole(0, 999_999_999),
    );
  }

  async function send(
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
    { ifRevision, ...options }: ApiOptions & Condition,
  ): Promise<void> {
    const headers = ifRevision === undefined ? {} : { 'If-Match': `"${ifRevision}"` };
    const device = await clientOf(options, context).send<PositionedDevice>(method, path, body, headers);
    await context.terminal.out(options.json ? `${JSON.stringify(device)}\n` : deviceText(device));
  }
}

function detailsOf({ name, type, label: labels }: Details): Record<string, unknown> {
  return {
    ...(name !== undefined && { name }),
    ...(type !== undefined && { type }),
    ...(labels !== undefined && { labels: Object.fromEntries(labels || []) }),
  };
}
