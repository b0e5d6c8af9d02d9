import { setTimeout as delay } from 'node:timers/promises';
import { type DoubleOptions, EventStoreDbDouble } from './eventstoredb-double.ts';
import { Membership } from './model/membership.ts';
import { StoreModel } from './model/store.ts';

export type ClusterOptions = Omit<DoubleOptions, 'store' | 'membership'> & {
  /** How far followers are behind the leader. */
  readonly lagMs?: number;
};

/**
 * A leader and two followers over one store. A follower serves reads of what has reached it, passes writes on to the
 * leader, and becomes the leader with all that was acknowledged.
 */
export class EventStoreDbCluster {
  readonly nodes: readonly EventStoreDbDouble[];
  readonly store: StoreModel;
  readonly #membership: Membership;

  static async start({ lagMs = 0, ...options }: ClusterOptions = {}): Promise<EventStoreDbCluster> {
    const store = new StoreModel();
    const membership = new Membership();
    membership.lagMs = lagMs;
    const nodes: EventStoreDbDouble[] = [];
    // One after the other: the first to join leads.
    for (let n = 0; n < 3; n += 1)
      nodes.push(await EventStoreDbDouble.start({ ...options, store, membership }));
    return new EventStoreDbCluster(nodes, store, membership);
  }

  private constructor(nodes: readonly EventStoreDbDouble[], store: StoreModel, membership: Membership) {
    this.nodes = nodes;
    this.store = store;
    this.#membership = membership;
  }

  /** Connection string that names the three nodes, of which the client asks one for the others. */
  get url(): string {
    return this.urlWith();
  }

  /** The same with settings such as `{ nodePreference: 'follower' }`, and a user's `name:password`. */
  urlWith(settings: Readonly<Record<string, string>> = {}, user?: string): string {
    const hosts = this.nodes.map((node) => node.endpoint()).map(({ address, port }) => `${address}:${port}`);
    const [, tls = ''] = (this.nodes[0] as EventStoreDbDouble).url.split('?');
    const query = [tls, ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)].join('&');
    return `esdb://${user ? `${user}@` : ''}${hosts.join(',')}?${query}`;
  }

  get lagMs(): number {
    return this.#membership.lagMs;
  }

  set lagMs(milliseconds: number) {
    this.#membership.lagMs = milliseconds;
  }

  /** Nothing while there is no quorum, or an election is held. */
  get leader(): EventStoreDbDouble | undefined {
    return this.nodes.find((node) => node === this.#membership.leader);
  }

  get followers(): readonly EventStoreDbDouble[] {
    return this.nodes.filter((node) => node !== this.#membership.leader);
  }

  /**
   * Has another node lead after an election, during which there is no leader. The old one stays up as a follower, its
   * connections with it, unless it is killed.
   */
  async changeLeader({
    electionMs = 0,
    kill = false,
  }: {
    readonly electionMs?: number;
    readonly kill?: boolean;
  } = {}): Promise<EventStoreDbDouble> {
    const old = this.leader;
    this.#membership.elect(undefined);
    if (kill) await old?.kill();
    if (electionMs > 0) await delay(electionMs);
    const after = old ? this.nodes.indexOf(old) + 1 : 0;
    const candidates = [...this.nodes.slice(after), ...this.nodes.slice(0, after)];
    const next = candidates.find((node) => node.isAlive());
    if (!next) throw new Error('No node is left to lead');
    this.#membership.elect(next);
    return next;
  }

  /** As when two of three nodes are cut off: nobody leads, and every node says that it is not ready. */
  loseQuorum(): void {
    this.#membership.elect(undefined);
  }

  regainQuorum(): void {
    this.#membership.elect(this.nodes.find((node) => node.isAlive()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}
