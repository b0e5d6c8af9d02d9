/** The whole shape of an aggregate: pure data in, pure data out. */
export type Decider<State, Command, Event> = {
  readonly initial: State;
  /** Events the command causes; `[]` when it is already satisfied. Throws a `Rejection` when a rule forbids it. */
  readonly decide: (command: Command, state: State) => readonly Event[];
  readonly evolve: (state: State, event: Event) => State;
};

/** Every business "no" the domain can give. */
export type RejectionCode =
  | 'DeviceAlreadyRegistered'
  | 'DeviceNotRegistered'
  | 'DeviceIsSuspended'
  | 'DeviceIsDecommissioned'
  | 'RuleAlreadyExists'
  | 'RuleNotFound'
  | 'RuleIsRemoved'
  | 'HookAlreadyExists'
  | 'HookNotFound'
  | 'HookIsRemoved'
  | 'AlarmNotFound'
  | 'LiveQueryNotFound';

/** A command the domain refuses, named by the rule that forbids it. */
export class Rejection extends Error {
  override readonly name = 'Rejection';
  readonly code: RejectionCode;

  constructor(code: RejectionCode, message: string) {
    super(message);
    this.code = code;
  }
}
