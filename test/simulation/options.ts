import { Random } from './random.ts';

/** What a world is like. All of it is drawn from the seed. */
export type WorldOptions = {
  readonly seed: string;
  readonly operations: number;
  readonly partitions: number;
  readonly apiNodes: number;
  readonly workers: number;
  readonly devices: number;
  /** Chaos and quiet take turns so often. */
  readonly rounds: number;
  /** Milliseconds between operations at most. */
  readonly pace: number;
  readonly retentionDays: number | null;
  /** Milliseconds that clocks of two processes differ at most. */
  readonly clockSkew: number;
  /** Readings are judged by rules, which are made and changed meanwhile. */
  readonly hasRules: boolean;
  /** Histories are imported meanwhile. */
  readonly hasImports: boolean;
  /** Operators do four times as much, and interrupt rebuilds that they take up again later. */
  readonly isBusy: boolean;
  /** Devices send some of their readings to two nodes at once. */
  readonly hasDoubles: boolean;
  /** What else happens than users' and operators' requests. */
  readonly faults: readonly FaultKind[];
};

const firstKinds = [
  'crash',
  'lost',
  'slow',
  'away',
  'transactions',
  'rebalance',
  'poison',
  'restore',
  'leap',
  'deletion',
  'expiry',
] as const;
/** Drawn from a source of their own, so that the worlds of a seed stay as they were without them. */
const laterKinds = ['stall', 'scale', 'release', 'backup'] as const;
/** Devices are erased more often, and their streams deleted soon after. */
const latestKinds = ['forget'] as const;
export const faultKinds = [...firstKinds, ...laterKinds, ...latestKinds] as const;
/** What worlds had not at first. */
export const laterThings = [...laterKinds, ...latestKinds, 'imports', 'busy', 'doubles'] as const;
export type FaultKind = (typeof faultKinds)[number];

export const drawOptions = (
  seed: string,
  operations: number,
  without: ReadonlySet<string> = new Set(),
): WorldOptions => {
  const random = new Random(seed).fork('options');
  const retentionDays = random.chance(0.2) ? random.between(2, 5) : null;
  // What is put back and what expires are not simulated together.
  const left = firstKinds.filter((kind) => kind !== 'restore' || retentionDays === null);
  const drawn = () => {
    const faults = left.filter((kind) => random.chance(0.6) && !without.has(kind));
    const mayExpire = retentionDays === null && !faults.includes('restore');
    return faults.filter((kind) => kind !== 'expiry' || mayExpire);
  };
  const options = {
    seed,
    operations,
    partitions: random.between(1, 4),
    apiNodes: random.between(1, 3),
    workers: random.between(1, 3),
    devices: random.between(3, 12),
    rounds: random.between(1, 3),
    pace: random.pick([20, 60, 200]),
    retentionDays,
    clockSkew: random.pick([0, 0, 5, 700]),
    faults: drawn(),
  };
  const mayHaveRules = !without.has('rules');
  const hasRules = random.chance(0.5) && mayHaveRules;
  const later = new Random(seed).fork('later options');
  const mayBackUp = retentionDays === null && !options.faults.includes('expiry');
  const may = { stall: true, scale: true, release: true, backup: mayBackUp };
  const drawnLater = laterKinds.filter((kind) => later.chance(0.4) && !without.has(kind) && may[kind]);
  const hasImports = later.chance(0.5) && !without.has('imports');
  const isBusy = later.chance(0.2) && !without.has('busy');
  const hasDoubles = later.chance(0.5) && !without.has('doubles');
  const drawnLatest = latestKinds.filter((kind) => later.chance(0.2) && !without.has(kind));
  const faults = [...options.faults, ...drawnLater, ...drawnLatest];
  return { ...options, hasRules, hasImports, isBusy, hasDoubles, faults };
};
