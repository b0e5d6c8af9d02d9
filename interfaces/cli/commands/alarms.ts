import type { Command } from 'commander';
import type { z } from 'zod';
import type { alarmAnswer } from '../../http/alarm-schemas.ts';
import { type ApiOptions, apiCommands } from '../api-commands.ts';
import { type CommandContext, print, whole } from '../command-context.ts';
import { exitCodesHelp } from '../exit-codes.ts';
import { fieldLines, table } from '../terminal.ts';

const examples = `
Examples:
  fieldlog alarms list --state open
  fieldlog alarms list --device boiler-7 --since 2026-03-01T00:00:00Z
  fieldlog alarms acknowledge e2ba36fb-e920-59ac-8d15-224f4d097bf6 --note "On my way"
`;

type Alarm = z.output<typeof alarmAnswer>;
type Filter = {
  readonly state?: string;
  readonly device?: string;
  readonly rule?: string;
  readonly since?: string;
  readonly limit: number;
};

export function alarmsCommand(program: Command, context: CommandContext): void {
  const alarms = program
    .command('alarms')
    .description('List, show, acknowledge, silence and clear alarms')
    .addHelpText('after', examples + exitCodesHelp);
  const { add, clientOf, pages } = apiCommands(alarms, 'alarm', context);

  add('list', 'List alarms, the newest first', 'list --state open')
    .option('--state <state>', 'open, acknowledged or cleared')
    .option('--device <id>', 'of this device')
    .option('--rule <id>', 'of this rule')
    .option('--since <time>', 'raised from this time on, in ISO 8601')
    .option('--limit <alarms>', 'alarms at most', whole(1, 1_000_000), 100)
    .action(list);

  add('show <id>', 'Show an alarm', 'show e2ba36fb-e920-59ac-8d15-224f4d097bf6').action(
    async (id: string, options: ApiOptions) => {
      const alarm = await clientOf(options).get<Alarm>(addressOf(id));
      await print(context, alarm, () => alarmText(alarm), options);
    },
  );

  add(
    'acknowledge <id>',
    'Record that somebody has seen an alarm',
    'acknowledge e2ba36fb-e920-59ac-8d15-224f4d097bf6 --note "On my way"',
  )
    .option('--note <text>', 'what others should know')
    .action(async (id: string, { note, ...options }: ApiOptions & { note?: string }) => {
      const body = note === undefined ? {} : { note };
      const alarm = await clientOf(options).send<Alarm>('POST', `${addressOf(id)}/acknowledge`, body);
      await print(context, alarm, () => alarmText(alarm), options);
    });

  add(
    'silence <id>',
    'Send hooks nothing new of the rule, device and metric of an alarm for some time',
    'silence e2ba36fb-e920-59ac-8d15-224f4d097bf6 --until 2026-03-02T06:00:00Z --note "Maintenance"',
  )
    .requiredOption('--until <time>', 'the end of the silence, in ISO 8601; one that has passed ends it')
    .option('--note <text>', 'what others should know')
    .action(async (id: string, options: ApiOptions & { until: string; note?: string }) => {
      const { until, note, ...others } = options;
      const body = { until, ...(note !== undefined && { note }) };
      const alarm = await clientOf(others).send<Alarm>('POST', `${addressOf(id)}/silence`, body);
      await print(context, alarm, () => alarmText(alarm), others);
    });

  add(
    'clear <id>',
    'Clear an alarm; where what raised it still holds, a later reading raises another',
    'clear e2ba36fb-e920-59ac-8d15-224f4d097bf6 --note "Sensor replaced"',
  )
    .option('--note <text>', 'what others should know')
    .action(async (id: string, { note, ...options }: ApiOptions & { note?: string }) => {
      const body = note === undefined ? {} : { note };
      const alarm = await clientOf(options).send<Alarm>('POST', `${addressOf(id)}/clear`, body);
      await print(context, alarm, () => alarmText(alarm), options);
    });

  async function list({ state, device, rule, since, ...options }: ApiOptions & Filter): Promise<void> {
    const filter = { state, deviceId: device, rule, since };
    const found = await pages<Alarm>('/api/v1/alarms', 'alarms', filter, options);
    const rows = found.map((alarm) => [
      alarm.raisedAt,
      alarm.state,
      alarm.severity,
      alarm.deviceId,
      alarm.metric ?? '',
      alarm.explanation,
      alarm.alarmId,
    ]);
    const headings = ['raised', 'state', 'severity', 'device', 'metric', 'explanation', 'id'];
    await print(context, found, () => table(headings, rows), options);
  }
}

const addressOf = (id: string): string => `/api/v1/alarms/${encodeURIComponent(id)}`;

const alarmText = ({ alarmId, ...alarm }: Alarm): string =>
  fieldLines(
    Object.fromEntries(Object.entries({ id: alarmId, ...alarm }).filter(([, value]) => value !== null)),
  );
