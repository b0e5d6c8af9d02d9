export type NodeState = 'leader' | 'follower' | 'unknown';

export type Endpoint = { readonly address: string; readonly port: number };

export type Member = {
  readonly instanceId: string;
  endpoint(): Endpoint;
  isAlive(): boolean;
  /** Has all of the log that there is, as a leader has. */
  catchUp(): void;
};

/** The nodes of a cluster, and which of them leads. A single server is the leader of a cluster of one. */
export class Membership {
  readonly members: Member[] = [];
  /** How far, in milliseconds, followers are behind the leader. */
  lagMs = 0;
  #leader: Member | undefined;

  get leader(): Member | undefined {
    return this.#leader;
  }

  join(member: Member): void {
    this.members.push(member);
    this.#leader ??= member;
  }

  /** Who leads from now on; nobody without a quorum, or while an election is held. */
  elect(member: Member | undefined): void {
    this.#leader?.catchUp();
    member?.catchUp();
    this.#leader = member;
  }

  stateOf(member: Member): NodeState {
    if (!this.#leader) return 'unknown';
    return this.#leader === member ? 'leader' : 'follower';
  }
}
