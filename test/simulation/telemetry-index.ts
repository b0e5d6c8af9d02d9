import type { TelemetryFact } from './telemetry-book.ts';

type Said = {
  readonly deviceId?: string;
  readonly timestamp?: number;
  readonly metrics?: Readonly<Record<string, unknown>>;
};

/** What was ever in the telemetry log, found without reading all of it again at each step. */
export class TelemetryIndex {
  readonly #partitions: () => readonly (readonly TelemetryFact[])[];
  readonly #read: number[] = [];
  readonly #places = new Set<string>();
  readonly #ofRequest = new Map<string, TelemetryFact[]>();
  readonly #moments = new Map<string, number>();
  readonly #retracted = new Set<string>();
  readonly #values = new Set<string>();

  constructor(partitions: () => readonly (readonly TelemetryFact[])[]) {
    this.#partitions = partitions;
  }

  /** The log was put back to an earlier copy. */
  restart(): void {
    this.#read.length = 0;
    for (const one of [this.#places, this.#ofRequest, this.#moments, this.#retracted, this.#values])
      one.clear();
  }

  has(partition: number, position: string): boolean {
    this.#catchUp();
    return this.#places.has(`${partition}/${position}`);
  }

  ofRequest(correlationId: string): readonly TelemetryFact[] {
    this.#catchUp();
    return this.#ofRequest.get(correlationId) ?? [];
  }

  /** Whether the device ever sent that value, at whatever time. */
  hasSent(deviceId: string, metric: string, value: unknown): boolean {
    this.#catchUp();
    return this.#values.has(`${deviceId} ${metric} ${value}`);
  }

  /** Whether more than one event speaks of that moment of a device. */
  isTouched(deviceId: string, timestamp: number): boolean {
    this.#catchUp();
    return this.#retracted.has(deviceId) || (this.#moments.get(`${deviceId} ${timestamp}`) ?? 0) > 1;
  }

  #catchUp(): void {
    for (const [partition, facts] of this.#partitions().entries()) {
      for (let i = this.#read[partition] ?? 0; i < facts.length; i += 1)
        this.#add(partition, facts[i] as TelemetryFact);
      this.#read[partition] = facts.length;
    }
  }

  #add(partition: number, fact: TelemetryFact): void {
    const { deviceId, timestamp, metrics } = fact.data as Said;
    this.#places.add(`${partition}/${fact.position}`);
    const together = this.#ofRequest.get(fact.correlationId);
    if (together) together.push(fact);
    else this.#ofRequest.set(fact.correlationId, [fact]);
    if (deviceId === undefined) return;
    if (fact.type === 'TelemetryRetracted') this.#retracted.add(deviceId);
    const moment = `${deviceId} ${timestamp}`;
    this.#moments.set(moment, (this.#moments.get(moment) ?? 0) + 1);
    for (const [name, value] of Object.entries(metrics ?? {}))
      this.#values.add(`${deviceId} ${name} ${value}`);
  }
}
