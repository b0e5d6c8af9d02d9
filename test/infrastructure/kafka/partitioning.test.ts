import assert from 'node:assert/strict';
import fc from 'fast-check';
import kafkajs, { type PartitionMetadata } from 'kafkajs';
import { partitionOf } from '../../../infrastructure/kafka/telemetry-codec.ts';

describe('The partition of a device', () => {
  it('is the one that Kafka gives to a key', () => {
    const partition = kafkajs.Partitioners.DefaultPartitioner();
    const metadata = (count: number) =>
      Array.from({ length: count }, (_, partitionId) => ({ partitionId, leader: 1 }) as PartitionMetadata);
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }),
        fc.integer({ min: 1, max: 100 }),
        (key, count) => {
          const message = { key, value: '' };
          assert.equal(
            partitionOf(key, count),
            partition({ topic: 't', partitionMetadata: metadata(count), message }),
          );
        },
      ),
      { numRuns: 1000 },
    );
  });
});
