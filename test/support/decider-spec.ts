import assert from 'node:assert/strict';
import { type Decider, Rejection, type RejectionCode } from '../../domain/decider.ts';

/** given(history).when(command).thenEvents(events): reads like the rule it checks. */
export const deciderSpec =
  <State, Command, Event>({ initial, evolve, decide }: Decider<State, Command, Event>) =>
  (...history: readonly Event[]) => ({
    when(command: Command) {
      const act = () => decide(command, history.reduce(evolve, initial));
      return {
        thenEvents: (...expected: readonly Event[]) => assert.deepEqual(act(), expected),
        thenNothing: () => assert.deepEqual(act(), []),
        thenRejected: (code: RejectionCode) =>
          assert.throws(act, (error) => error instanceof Rejection && error.code === code),
      };
    },
  });
