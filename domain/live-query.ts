import { type Decider, Rejection } from './decider.ts';

/** Parameters of a live stream, as a request gives them. */
export type LiveQueryParameters = Readonly<Record<string, string | readonly string[]>>;

// Type names and field names below are stored for ever. Add; never rename.
export type LiveQueryEvent =
  | {
      readonly type: 'LiveQuerySaved';
      readonly data: { readonly name: string; readonly parameters: LiveQueryParameters };
    }
  | { readonly type: 'LiveQueryRemoved'; readonly data: { readonly name: string } };

type LiveQueryCommand =
  | { readonly type: 'SaveLiveQuery'; readonly name: string; readonly parameters: LiveQueryParameters }
  | { readonly type: 'RemoveLiveQuery'; readonly name: string };

type LiveQuery =
  | { readonly status: 'missing' }
  | { readonly status: 'saved'; readonly parameters: LiveQueryParameters };

export const liveQueryStream = (name: string): string => `liveQuery-${name}`;

/** A live query by name: saved, saved anew, removed, and saved again. */
export const liveQueryDecider: Decider<LiveQuery, LiveQueryCommand, LiveQueryEvent> = {
  initial: { status: 'missing' },
  decide(command, query) {
    const { name } = command;
    if (command.type === 'RemoveLiveQuery') {
      if (query.status === 'missing')
        throw new Rejection('LiveQueryNotFound', `There is no live query ${name}`);
      return [{ type: 'LiveQueryRemoved', data: { name } }];
    }
    const { parameters } = command;
    if (query.status === 'saved' && JSON.stringify(query.parameters) === JSON.stringify(parameters))
      return [];
    return [{ type: 'LiveQuerySaved', data: { name, parameters } }];
  },
  evolve: (_, event) =>
    event.type === 'LiveQuerySaved'
      ? { status: 'saved', parameters: event.data.parameters }
      : { status: 'missing' },
};
