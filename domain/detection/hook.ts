import { type Decider, Rejection } from '../decider.ts';

/** `webhook`: each change is posted as a signed CloudEvent. `alertmanager`: alarms are alerts of an Alertmanager. */
export const hookKinds = ['webhook', 'alertmanager'] as const;
type HookKind = (typeof hookKinds)[number];

/** Where alarms are sent by HTTP. */
export type HookDefinition = {
  /** `webhook` when absent; never changed. */
  readonly kind?: HookKind;
  readonly url: string;
  /** What requests are signed with: `whsec_` and 24 to 64 bytes in base64. */
  readonly secret: string;
};

export type HookChanges = Partial<Omit<HookDefinition, 'kind'>>;

// Type names and field names below are stored for ever. Add; never rename.
export type HookEvent =
  | {
      readonly type: 'HookCreated' | 'HookChanged';
      readonly data: { readonly hookId: string } & HookDefinition;
    }
  | {
      readonly type: 'HookEnabled' | 'HookDisabled' | 'HookRemoved';
      readonly data: { readonly hookId: string };
    };

export type HookCommand = { readonly hookId: string } & (
  | { readonly type: 'CreateHook'; readonly definition: HookDefinition }
  | { readonly type: 'ChangeHook'; readonly changes: HookChanges }
  | { readonly type: 'EnableHook' | 'DisableHook' | 'RemoveHook' }
);

export type Hook =
  | { readonly status: 'missing' }
  | { readonly status: 'enabled' | 'disabled' | 'removed'; readonly definition: HookDefinition };

export const hookStream = (hookId: string): string => `hook-${hookId}`;

/** A hook's life: created once, changed, disabled and enabled at will, removed for good. */
export const hookDecider: Decider<Hook, HookCommand, HookEvent> = {
  initial: { status: 'missing' },
  decide,
  evolve,
};

function decide(command: HookCommand, hook: Hook): readonly HookEvent[] {
  const { hookId } = command;
  if (command.type === 'CreateHook') {
    if (hook.status !== 'missing') throw new Rejection('HookAlreadyExists', `Hook ${hookId} already exists`);
    return [{ type: 'HookCreated', data: { hookId, ...command.definition } }];
  }
  if (hook.status === 'missing') throw new Rejection('HookNotFound', `There is no hook ${hookId}`);
  if (hook.status === 'removed') {
    if (command.type === 'RemoveHook') return [];
    throw new Rejection('HookIsRemoved', `Hook ${hookId} is removed, which is final`);
  }
  switch (command.type) {
    case 'ChangeHook': {
      const definition = { ...hook.definition, ...command.changes };
      const { url, secret } = definition;
      if (url === hook.definition.url && secret === hook.definition.secret) return [];
      return [{ type: 'HookChanged', data: { hookId, ...definition } }];
    }
    case 'EnableHook':
      return hook.status === 'enabled' ? [] : [{ type: 'HookEnabled', data: { hookId } }];
    case 'DisableHook':
      return hook.status === 'disabled' ? [] : [{ type: 'HookDisabled', data: { hookId } }];
    case 'RemoveHook':
      return [{ type: 'HookRemoved', data: { hookId } }];
  }
}

function evolve(hook: Hook, event: HookEvent): Hook {
  if (event.type === 'HookCreated' || event.type === 'HookChanged') {
    const { hookId: _, ...definition } = event.data;
    return { status: hook.status === 'missing' ? 'enabled' : hook.status, definition };
  }
  if (hook.status === 'missing')
    throw new Error(`${event.type} of hook ${event.data.hookId} comes before its creation`);
  return { status: statusAfter[event.type], definition: hook.definition };
}

const statusAfter = { HookEnabled: 'enabled', HookDisabled: 'disabled', HookRemoved: 'removed' } as const;
