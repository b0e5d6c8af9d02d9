/** A period, in epoch milliseconds from `from` to before `to`, in which a zone has one UTC offset. */
export type OffsetSpan = {
  readonly from: number;
  readonly to: number;
  /** Milliseconds that local time is ahead of UTC. */
  readonly offset: number;
};

export type TimeZone = {
  /** The span that holds the instant. Spans leave no gap; two that meet may have the same offset. */
  spanAt(instant: number): OffsetSpan;
};

/** What the clocks of the world show. */
export type Calendar = {
  /** Throws `InvalidTimeZone`. */
  zone(name: string): TimeZone;
};

export class InvalidTimeZone extends Error {
  override readonly name = 'InvalidTimeZone';

  constructor(zone: string) {
    super(`tz must be a time zone of the IANA database such as Europe/Berlin or UTC, not "${zone}"`);
  }
}
