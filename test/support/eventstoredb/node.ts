import type { Metadata, StatusObject } from '@grpc/grpc-js';
import { accessDenied, notLeader, notReady, unauthenticated } from './failures.ts';
import type { Faults } from './faults.ts';
import type { Member, Membership, NodeState } from './model/membership.ts';
import type { Action, Caller } from './model/rights.ts';
import type { StoreModel } from './model/store.ts';

type AnyCall = { readonly metadata: Metadata };

/** A node of a cluster as a call finds it: what it has of the log, whom it lets in, and whether it leads. */
export class Node {
  readonly store: StoreModel;
  readonly faults: Faults;
  readonly membership: Membership;
  readonly #member: Member;
  #received = 0;

  constructor(store: StoreModel, faults: Faults, membership: Membership, member: Member) {
    this.store = store;
    this.faults = faults;
    this.membership = membership;
    this.#member = member;
  }

  get state(): NodeState {
    return this.membership.stateOf(this.#member);
  }

  /** How many events have reached the node. What it has once it does not lose, unless the store is put back. */
  get count(): number {
    const { log } = this.store;
    const { lagMs } = this.membership;
    const reached = this.state === 'leader' || lagMs === 0 ? log.count : log.countAt(Date.now() - lagMs);
    this.#received = Math.min(log.count, Math.max(reached, this.#received));
    return this.#received;
  }

  catchUp(): void {
    this.#received = this.store.log.count;
  }

  /** Milliseconds after which more of the log may have reached the node; nothing when it has all of it. */
  get behindMs(): number | undefined {
    return this.count < this.store.log.count ? Math.max(1, this.membership.lagMs / 10) : undefined;
  }

  /** Why a read is not done here; nothing when it is. */
  refusedRead(call: AnyCall, stream: string): StatusObject | undefined {
    const denied = this.#denied(call, 'read', stream);
    if (denied || !requiresLeader(call)) return denied;
    return this.state === 'unknown' ? notReady() : this.#otherLeader();
  }

  /** Why a write is not done here; nothing when it is, if only because a follower passes it on to the leader. */
  refusedWrite(call: AnyCall, action: 'write' | 'delete', stream: string): StatusObject | undefined {
    const denied = this.#denied(call, action, stream);
    if (denied) return denied;
    if (this.state === 'unknown') return notReady();
    return requiresLeader(call) ? this.#otherLeader() : undefined;
  }

  #denied(call: AnyCall, action: Action, stream: string): StatusObject | undefined {
    const { rights } = this.store;
    if (!rights.areChecked) return undefined;
    const caller: Caller | undefined = rights.caller(credentialsIn(call));
    if (!caller) return unauthenticated();
    return rights.allows(caller, action, stream) ? undefined : accessDenied();
  }

  #otherLeader(): StatusObject | undefined {
    const { leader } = this.membership;
    return leader && leader !== this.#member ? notLeader(leader.endpoint()) : undefined;
  }
}

const requiresLeader = ({ metadata }: AnyCall) => metadata.get('requires-leader')[0] === 'true';

/** The user name and the password that came with a call by HTTP's basic authentication. */
function credentialsIn({
  metadata,
}: AnyCall): { readonly name: string; readonly password: string } | undefined {
  const [, encoded] = String(metadata.get('authorization')[0] ?? '').split(' ');
  if (!encoded) return undefined;
  const decoded = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return { name: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}
