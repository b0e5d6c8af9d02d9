import { z } from 'zod';
import { integer, repeated, single } from '../http/validation.ts';
import { inputFormats } from './cells.ts';
import { metricColumn } from './columns.ts';
import { encodingNamed } from './decoding.ts';
import { delimiterNamed, mostSkipped } from './import-options.ts';
import { UnusableInput } from './unusable-input.ts';

/** A message of the importer in words of the API: `--device-column` is the parameter `deviceColumn`. */
export const inParameters = (text: string): string =>
  text.replaceAll(
    /(?<![\w"-])--([a-z]+(?:-[a-z]+)*)/g,
    (_, option: string) => `\`${option.replaceAll(/-([a-z])/g, (_, first: string) => first.toUpperCase())}\``,
  );

const once = 'must be text';
const text = () => single(once);
const severalError = 'must be at most 100 values';
const several = <Item extends z.ZodType>(item: Item) => repeated(item, severalError);
const flag = () =>
  z.enum(['true', 'false'], { error: 'must be true or false' }).transform((given) => given === 'true');
const choice = <const Values extends readonly string[]>(values: Values) =>
  z.enum(values, { error: `must be ${values.join(', ')}` });

/** What `parse` makes of a text, with what it says of one that it does not take. */
const parsed = <Value>(parse: (text: string) => Value) =>
  text().transform((given, context) => {
    try {
      return parse(given);
    } catch (error) {
      if (!(error instanceof UnusableInput)) throw error;
      context.addIssue({ code: 'custom', message: inParameters(error.message), input: given });
      return z.NEVER;
    }
  });

/** The options of `fieldlog import`, by their names. */
export const importParameters = z.strictObject({
  dryRun: flag().default(false).meta({ description: 'Say what would be imported, and import nothing.' }),
  rejects: flag().default(false).meta({ description: 'Send every refused line with what it held.' }),
  file: text().default('file').meta({ description: 'The name of the file, for what is said of it.' }),
  device: text().optional().meta({ description: 'The device that all lines are of.' }),
  deviceColumn: several(text())
    .optional()
    .meta({ description: 'The column that holds the device; several make an id together.' }),
  devicePrefix: text().optional().meta({ description: 'Put before every id that a column holds.' }),
  deviceSlug: flag().optional().meta({ description: 'Make ids of names.' }),
  timeColumn: text().optional().meta({ description: 'The column that holds the time.' }),
  timeColumns: text().optional().meta({ description: 'Columns that hold it together, such as `Date,Time`.' }),
  timeFormat: text()
    .default('auto')
    .meta({ description: '`auto`, `iso`, `epoch-s`, `-ms`, `-us`, `-ns`, or such as `dd.MM.yyyy HH:mm`.' }),
  tz: text().default('UTC').meta({ description: 'The time zone of times without an offset.' }),
  metric: several(parsed(metricColumn))
    .optional()
    .meta({ description: 'Import these columns only: `column` or `column=metric`.' }),
  text: several(parsed(metricColumn))
    .optional()
    .meta({ description: 'Columns to import as text: `column` or `column=metric`.' }),
  metricColumn: text().optional().meta({ description: 'The column that names the metric of each line.' }),
  valueColumn: text().optional().meta({ description: 'The column that holds its value.' }),
  unitColumn: text().optional().meta({ description: 'The column that holds its unit.' }),
  ignoreColumns: several(text())
    .optional()
    .meta({ description: 'Columns to leave out, `*` for all of text.' }),
  null: several(text()).optional().meta({ description: 'Cells that stand for nothing.' }),
  overwrite: flag()
    .optional()
    .meta({ description: 'Of lines that contradict each other the last counts, not the first.' }),
  register: flag().default(true).meta({
    description: 'Register devices that are not, which needs `devices:write`; refuse them when false.',
  }),
  name: text().optional().meta({ description: 'The name of `device` where it is registered.' }),
  type: text().default('imported').meta({ description: 'The type of devices that are registered.' }),
  format: choice(inputFormats).default('auto'),
  encoding: parsed(encodingNamed)
    .optional()
    .meta({ description: 'Such as `windows-1252`; UTF-8, or UTF-16 by content, when absent.' }),
  delimiter: parsed(delimiterNamed).optional().meta({ description: 'By content when absent.' }),
  decimal: choice(['.', ','] as const)
    .optional()
    .meta({ description: 'The decimal point; by content when absent.' }),
  skip: integer(0, mostSkipped).default(0).meta({ description: 'Lines before the column names.' }),
  skipRows: integer(0, mostSkipped).default(0).meta({ description: 'Rows after the column names.' }),
  comment: text().optional().meta({ description: 'Leave out lines that begin with it.' }),
  records: text().optional().meta({ description: 'Where JSON has the records, such as `data.rows`.' }),
  flatten: flag().optional().meta({ description: 'Import what objects in JSON hold.' }),
});

const count = () => z.int().min(0);
const refusal = z.object({
  file: z.string(),
  line: z.int(),
  column: z.string().optional(),
  reason: z.string(),
  conflictsWith: z.object({ file: z.string(), line: z.int() }).optional(),
});

const importReportAnswer = z
  .object({
    whole: z.boolean().meta({
      description: 'As exit code 0 of `fieldlog import`: nothing was refused, left out or came too late.',
    }),
    complete: z.boolean().meta({ description: 'The file was read to its end and is in the read models.' }),
    lines: count(),
    accepted: count().meta({ description: 'Lines that made a reading.' }),
    refused: count(),
    empty: count(),
    readings: count().meta({ description: 'Lines of one device and time are one reading.' }),
    repeated: count().meta({ description: 'Accepted lines that say only what lines before said.' }),
    conflicts: count().meta({ description: 'Refused lines that contradict a line before.' }),
    overwriting: count(),
    devices: count(),
    registered: count(),
    late: z.int().nullable(),
    seconds: z.number(),
    notes: z.array(z.string()),
    leftOut: z.array(z.string()).meta({ description: 'Columns that hold something and are not imported.' }),
    columns: z.array(
      z.object({
        column: z.string(),
        is: z.string(),
        type: z.enum(['number', 'text']).optional(),
        metric: z.string().optional(),
        cells: count(),
        nulls: count(),
        reason: z.string().optional(),
      }),
    ),
    refusals: z.array(refusal).meta({ description: 'The first of them.' }),
    dryRun: z
      .object({
        first: z.array(z.object({ deviceId: z.string(), timestamp: z.string(), metrics: z.object({}) })),
        earliest: z.string().nullable(),
        latest: z.string().nullable(),
      })
      .optional(),
  })
  .meta({ id: 'ImportReport' });

const progress = z
  .object({
    lines: count(),
    refused: count(),
    share: z.number().min(0).max(1).meta({ description: 'Of the file that has been read.' }),
  })
  .meta({ id: 'ImportProgress' });
const reject = z.looseObject({}).meta({
  id: 'ImportReject',
  description:
    'A line of a file of rejects: a refused line with what it held, or the plan by which those that follow were read.',
});
const problem = z
  .object({ type: z.string(), title: z.string(), status: z.int(), detail: z.string() })
  .extend({ accepted: count(), refused: count() })
  .meta({
    id: 'ImportProblem',
    description: 'Why the import broke off, and the lines sent and refused before.',
  });

const eventOf = <const Name extends string, Data extends z.ZodType>(event: Name, id: string, data: Data) =>
  z.object({ event: z.literal(event), data }).meta({ id });

/** One line of the answer. */
export const importEvent = z
  .discriminatedUnion('event', [
    eventOf('progress', 'ImportProgressEvent', progress),
    eventOf('reject', 'ImportRejectEvent', reject),
    eventOf('report', 'ImportReportEvent', importReportAnswer),
    eventOf('problem', 'ImportProblemEvent', problem),
  ])
  .meta({ id: 'ImportEvent' });
