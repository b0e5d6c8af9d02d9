/**
 * The value-novelty detector: how unlike everything a series has sent before is a value? Streaming, bounded, and the
 * same on every replay: only + - * / and comparisons of doubles in a fixed order, no clock, no random numbers and no
 * function that differs between engines.
 */

export type NoveltySettings = {
  /** A value farther from every remembered one than this part of the usual range is remembered as a new one. */
  readonly resolution: number;
  /** The usual range lies between this quantile and its mirror image. */
  readonly tail: number;
  /** By how much of its distance from the usual range a value outside it must lie farther apart: for heavy tails. */
  readonly outside: number;
  /** Weight of the running mean that is watched beside the values. */
  readonly meanWeight: number;
  /** What a claim is multiplied with at each value. */
  readonly fade: number;
  /** A value must be so many times as novel as the claim that earlier ones have left. */
  readonly rise: number;
};

export const noveltySettings: NoveltySettings = {
  resolution: 0.05,
  tail: 0.01,
  outside: 0.5,
  meanWeight: 0.5,
  // 2^(-1/50), as a literal because `**` may differ between engines: a claim is halved every 50 values.
  fade: 0.9862327044933592,
  rise: 1.5,
};

/** Most values a codebook remembers. */
const capacity = 64;
/** Values before anything is reported. */
const warmUp = 20;
const meanLength = 24;
const smallestRange = 1e-9;
const greatestNovelty = 1e6;

/** The values seen so far as sorted centres with counts: memory and histogram in one. */
class Codebook {
  readonly #settings: NoveltySettings;
  readonly #centres = new Float64Array(capacity + 1);
  readonly #counts = new Float64Array(capacity + 1);
  #size = 0;
  #total = 0;
  #low = 0;
  #high = 0;

  constructor(settings: NoveltySettings) {
    this.#settings = settings;
  }

  /** The distance of `value` to the nearest one seen before, in usual ranges; then learns it. */
  learn(value: number): number {
    const at = this.#indexOf(value);
    const below = at > 0 ? value - (this.#centres[at - 1] as number) : Number.POSITIVE_INFINITY;
    const above = at < this.#size ? (this.#centres[at] as number) - value : Number.POSITIVE_INFINITY;
    const distance = below < above ? below : above;
    const scale = this.#scale(value, value);
    const novelty = this.#total >= warmUp ? Math.min(distance / scale, greatestNovelty) : 0;
    this.#total += 1;
    if (this.#size === 0 || distance > this.#settings.resolution * scale) this.#insert(at, value);
    else {
      const nearest = below < above ? at - 1 : at;
      this.#counts[nearest] = (this.#counts[nearest] as number) + 1;
    }
    this.#findUsualRange();
    return novelty;
  }

  /** How many doubles `save` writes. */
  get savedLength(): number {
    return 1 + 2 * this.#size;
  }

  /** Writes its size, then the centres and then their counts to `into`, from `offset` on. */
  save(into: Float64Array, offset: number): void {
    into[offset] = this.#size;
    for (let i = 0; i < this.#size; i += 1) {
      into[offset + 1 + i] = this.#centres[i] as number;
      into[offset + 1 + this.#size + i] = this.#counts[i] as number;
    }
  }

  /** Takes over what `save` wrote, from `offset` on; returns the offset behind it. */
  load(saved: ArrayLike<number>, offset: number): number {
    this.#size = saved[offset] as number;
    this.#total = 0;
    for (let i = 0; i < this.#size; i += 1) {
      this.#centres[i] = saved[offset + 1 + i] as number;
      this.#counts[i] = saved[offset + 1 + this.#size + i] as number;
      this.#total += this.#counts[i] as number;
    }
    this.#findUsualRange();
    return offset + 1 + 2 * this.#size;
  }

  /** The first centre that is not less than `value`. */
  #indexOf(value: number): number {
    let from = 0;
    let to = this.#size;
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((this.#centres[middle] as number) < value) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** The usual range, wider for what lies outside it. */
  #scale(from: number, to: number): number {
    const range = this.#high - this.#low;
    return (
      (range > 0 ? range : smallestRange) +
      this.#settings.outside * Math.max(0, to - this.#high, this.#low - from)
    );
  }

  #insert(at: number, value: number): void {
    this.#centres.copyWithin(at + 1, at, this.#size);
    this.#counts.copyWithin(at + 1, at, this.#size);
    this.#centres[at] = value;
    this.#counts[at] = 1;
    this.#size += 1;
    if (this.#size > capacity) this.#join(this.#closestPair());
  }

  /** The neighbours whose difference matters least: the least increase of variance, with gaps in local ranges. */
  #closestPair(): number {
    let closest = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < this.#size; i += 1) {
      const from = this.#centres[i] as number;
      const to = this.#centres[i + 1] as number;
      const a = this.#counts[i] as number;
      const b = this.#counts[i + 1] as number;
      const gap = (to - from) / this.#scale(from, to);
      const cost = (gap * gap * a * b) / (a + b);
      if (cost < least) {
        least = cost;
        closest = i;
      }
    }
    return closest;
  }

  /** Makes one centre of two, at the one seen more often. */
  #join(at: number): void {
    const a = this.#counts[at] as number;
    const b = this.#counts[at + 1] as number;
    if (a < b) this.#centres[at] = this.#centres[at + 1] as number;
    this.#counts[at] = a + b;
    this.#centres.copyWithin(at + 1, at + 2, this.#size);
    this.#counts.copyWithin(at + 1, at + 2, this.#size);
    this.#size -= 1;
  }

  #findUsualRange(): void {
    const cut = this.#settings.tail * this.#total;
    let low = 0;
    for (let sum = 0; low < this.#size - 1; low += 1) {
      sum += this.#counts[low] as number;
      if (sum > cut) break;
    }
    let high = this.#size - 1;
    for (let sum = 0; high > 0; high -= 1) {
      sum += this.#counts[high] as number;
      if (sum > cut) break;
    }
    this.#low = this.#centres[low] as number;
    this.#high = this.#centres[high] as number;
  }
}

/** Watches the values of one series and their running mean, each in a codebook of its own. */
export class NoveltyDetector {
  readonly #settings: NoveltySettings;
  readonly #values: Codebook;
  readonly #means: Codebook;
  readonly #recent = new Float64Array(meanLength);
  #seen = 0;
  #claim = 0;
  #ofMean = 0;

  constructor(settings: NoveltySettings = noveltySettings) {
    this.#settings = settings;
    this.#values = new Codebook(settings);
    this.#means = new Codebook(settings);
  }

  /** How many values the series has sent. */
  get seen(): number {
    return this.#seen;
  }

  /** The mean of the last 24 values, added up anew each time: one huge value leaves no error behind. */
  get mean(): number {
    let sum = 0;
    for (let i = 0; i < meanLength; i += 1) sum += this.#recent[i] as number;
    return sum / meanLength;
  }

  /** Whether the last novelty is that of the mean rather than of the value. */
  isOfMean(novelty: number): boolean {
    return this.#ofMean === novelty;
  }

  /**
   * How novel `value` is, in usual ranges; 0 when at most what was reported lately. What is at least 0.05 or so
   * deserves an alarm.
   */
  next(value: number): number {
    const ofValue = this.#values.learn(value);
    this.#ofMean = this.#noveltyOfMean(value);
    const novelty = Math.max(ofValue, this.#ofMean);
    this.#claim *= this.#settings.fade;
    if (novelty <= this.#claim * this.#settings.rise) return 0;
    this.#claim = Math.max(this.#claim, novelty);
    return novelty;
  }

  /** All that the next values depend on, as doubles, behind as many as `first` that are the caller's. */
  save(first: readonly number[] = []): Float64Array {
    const recent = Math.min(this.#seen, meanLength);
    const ofValues = first.length + 2 + recent;
    const ofMeans = ofValues + this.#values.savedLength;
    const saved = new Float64Array(ofMeans + this.#means.savedLength);
    saved.set(first);
    saved[first.length] = this.#seen;
    saved[first.length + 1] = this.#claim;
    for (let i = 0; i < recent; i += 1) saved[first.length + 2 + i] = this.#recent[i] as number;
    this.#values.save(saved, ofValues);
    this.#means.save(saved, ofMeans);
    return saved;
  }

  /** Takes over what `save` gave, from `offset` on; returns the offset behind it. */
  load(saved: ArrayLike<number>, offset: number): number {
    this.#seen = saved[offset] as number;
    this.#claim = saved[offset + 1] as number;
    const recent = Math.min(this.#seen, meanLength);
    for (let i = 0; i < recent; i += 1) this.#recent[i] = saved[offset + 2 + i] as number;
    return this.#means.load(saved, this.#values.load(saved, offset + 2 + recent));
  }

  #noveltyOfMean(value: number): number {
    this.#recent[this.#seen % meanLength] = value;
    this.#seen += 1;
    return this.#seen >= meanLength ? this.#settings.meanWeight * this.#means.learn(this.mean) : 0;
  }
}
