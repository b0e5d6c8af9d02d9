import type { Metrics, TelemetryEvent } from '../../domain/telemetry.ts';
import type { TimeRange } from '../ports/queries.ts';

/** Milliseconds before the range: readings without a time of their own may move from there into it. */
const margin = 1000;

/** The readings of one device in the first part of a range, as much of it as may be held. */
export class HeldReadings {
  readonly #whole: TimeRange;
  readonly #order: 'asc' | 'desc';
  readonly #most: number;
  readonly #metricsAt = new Map<number, Metrics>();
  /** Of these times everything is held. */
  #from: number;
  #to: number;

  constructor(range: TimeRange, order: 'asc' | 'desc', most: number) {
    this.#whole = range;
    this.#order = order;
    this.#most = most;
    this.#from = range.from;
    this.#to = range.to;
  }

  /** Takes the next event of the device's log; what is `undefined` says nothing. */
  fold(event: TelemetryEvent | undefined): void {
    if (event?.type === 'TelemetryRecorded') {
      const { timestamp, metrics, untimed } = event.data;
      if (timestamp < this.#from - margin || timestamp >= this.#to) return;
      let time = timestamp;
      while (untimed && this.#metricsAt.has(time)) time += 1;
      this.#metricsAt.set(time, { ...this.#metricsAt.get(time), ...metrics });
      if (this.#metricsAt.size > 1.5 * this.#most + margin) this.#shrink();
    } else if (event?.type === 'TelemetryRetracted') {
      const { metric, from, to } = event.data;
      for (const [timestamp, metrics] of this.#metricsAt) {
        if (timestamp < from || timestamp >= to) continue;
        const { [metric ?? '']: _, ...left } = metrics;
        if (metric === undefined || Object.keys(left).length === 0) this.#metricsAt.delete(timestamp);
        else this.#metricsAt.set(timestamp, left);
      }
    }
  }

  inRange(): readonly (readonly [timestamp: number, metrics: Metrics])[] {
    return [...this.#metricsAt].filter(([time]) => time >= this.#from && time < this.#to);
  }

  /** What is left of the range; `undefined` when all was held. */
  rest(): TimeRange | undefined {
    const { from, to } = this.#whole;
    if (this.#to < to) return { from: this.#to, to };
    return this.#from > from ? { from, to: this.#from } : undefined;
  }

  /** Leaves what comes last in the order to another look at the log. */
  #shrink(): void {
    const times = Float64Array.from(this.inRange(), ([time]) => time).sort();
    if (this.#order === 'asc') this.#to = times[this.#most] ?? this.#to;
    else this.#from = times[times.length - this.#most] ?? this.#from;
    for (const time of this.#metricsAt.keys())
      if (time < this.#from - margin || time >= this.#to) this.#metricsAt.delete(time);
  }
}
