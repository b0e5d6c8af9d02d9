import type { Command } from 'commander';
import { type ApiClient, apiClient, type Query } from './api-client.ts';
import {
  type CommandContext,
  clientOptions,
  jsonOption,
  localUrl,
  urlOption,
  whole,
} from './command-context.ts';
import { exitCodesHelp } from './exit-codes.ts';

/** What every command that calls the API takes. */
export type ApiOptions = { readonly url?: string; readonly json?: boolean };

/** Of a command that changes what has revisions. */
export type RevisionOption = { readonly ifRevision?: number };

/** Adds one command to a group; `example` is what it may look like. */
type AddCommand = (name: string, description: string, example: string) => Command;

/** What the commands of a group share that call the API, such as `fieldlog devices`. */
export type ApiCommands = {
  readonly add: AddCommand;
  /** The same with `--if-revision`. */
  readonly addChange: AddCommand;
  clientOf(options: ApiOptions): ApiClient;
  /** As many pages as the limit takes; says so when there are more. */
  pages<Row>(
    path: string,
    member: string,
    query: Query,
    options: ApiOptions & { readonly limit: number },
  ): Promise<Row[]>;
};

const pageSize = 1000;

/** `thing` is what a command of the group is about, such as `device`. */
export function apiCommands(group: Command, thing: string, context: CommandContext): ApiCommands {
  return {
    add,
    addChange: (...command) =>
      add(...command).option(
        '--if-revision <revision>',
        `only if the ${thing} is still at this revision`,
        whole(0, 999_999_999),
      ),
    clientOf,

    async pages<Row>(
      path: string,
      member: string,
      query: Query,
      options: ApiOptions & { readonly limit: number },
    ) {
      const client = clientOf(options);
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
    },
  };

  function add(...[name, description, example]: Parameters<AddCommand>): Command {
    return group
      .command(name)
      .description(description)
      .addOption(urlOption('the server (default: the one on this machine)'))
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  fieldlog ${group.name()} ${example}\n${exitCodesHelp}`);
  }

  function clientOf({ url }: ApiOptions): ApiClient {
    return apiClient(url ?? localUrl(context), clientOptions(context));
  }
}

/** The headers by which a change is made at one revision only. */
export const ifMatch = ({ ifRevision }: RevisionOption): Record<string, string> =>
  ifRevision === undefined ? {} : { 'If-Match': `"${ifRevision}"` };
