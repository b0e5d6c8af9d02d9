import type { DatabaseSync } from 'node:sqlite';
import { immediateTransaction } from './immediate-transaction.ts';

type Waiting<Job, Answer> = {
  readonly job: Job;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
};

type Work<Job, Answer> = {
  /** Runs inside the transaction: the job's answer, or the error it alone is refused with. */
  readonly perform: (job: Job) => Answer | Error;
  /** Runs after each commit. */
  readonly committed: () => void;
  /** What callers are told when the transaction failed as a whole. */
  readonly failure: (error: unknown) => unknown;
};

/**
 * Makes one transaction, and so one wait for the disk, of all jobs handed over in the same turn of the event loop.
 * Each job is answered once it is on disk.
 */
export class GroupCommit<Job, Answer> {
  readonly #work: Work<Job, Answer>;
  readonly #inTransaction: ReturnType<typeof immediateTransaction>;
  #waiting: Waiting<Job, Answer>[] = [];

  constructor(db: DatabaseSync, work: Work<Job, Answer>) {
    this.#work = work;
    this.#inTransaction = immediateTransaction(db);
  }

  /** The job is made at once; what making it throws is what its promise is rejected with. */
  submit(make: () => Job): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ job: make(), resolve, reject }) === 1) setImmediate(() => this.flush());
    });
  }

  /** Commits what is waiting now. */
  flush(): void {
    const group = this.#waiting;
    if (group.length === 0) return;
    this.#waiting = [];
    let outcomes: readonly (Answer | Error)[];
    try {
      outcomes = this.#inTransaction(() => group.map(({ job }) => this.#work.perform(job)));
    } catch (error) {
      const failure = this.#work.failure(error);
      for (const { reject } of group) reject(failure);
      return;
    }
    this.#work.committed();
    group.forEach(({ resolve, reject }, i) => {
      const outcome = outcomes[i] as Answer | Error;
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    });
  }
}
