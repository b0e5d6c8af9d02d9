import {
  type Batch,
  type BatchConsumer,
  comparePositions,
  type Position,
} from '../../../application/ports/event-source.ts';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';

/**
 * Does what the projector does, in memory: effects and checkpoint change together, so what is delivered again has
 * none, and a batch that does not join on to the checkpoint is refused. Several sources may share it.
 */
export class FencedConsumer implements BatchConsumer<TelemetryRecord> {
  readonly checkpoints = new Map<number, Position>();
  /** How often each event took effect. */
  readonly effects = new Map<string, number>();
  /** Every event in the order of delivery, repeated ones too. */
  readonly delivered: TelemetryRecord[] = [];

  async checkpoint(partition: number): Promise<Position | null> {
    return this.checkpoints.get(partition) ?? null;
  }

  async consume({ partition, after, events }: Batch<TelemetryRecord>): Promise<void> {
    this.delivered.push(...events);
    await new Promise((resolve) => setImmediate(resolve));
    const at = this.checkpoints.get(partition) ?? null;
    if (comparePositions(at, after) < 0) throw new Error(`events between ${at} and ${after} were missed`);
    for (const { id, position } of events) {
      if (comparePositions(position, at) <= 0) continue;
      this.effects.set(id, (this.effects.get(id) ?? 0) + 1);
      this.checkpoints.set(partition, position);
    }
  }
}
