const seed = 0x9747b28c;
const m = 0x5bd1e995;

/**
 * The partition Kafka's own clients choose for this key, so that every producer puts a device in the same one.
 * kafkajs has the same function on 64-bit integers, at many times the cost.
 */
export function partitionOf(key: string, partitions: number): number {
  return (murmur2(Buffer.from(key)) & 0x7fffffff) % partitions;
}

function murmur2(data: Buffer): number {
  const { length } = data;
  let h = seed ^ length;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    let k = Math.imul(data.readInt32LE(i), m);
    k ^= k >>> 24;
    h = Math.imul(h, m) ^ Math.imul(k, m);
  }
  if (i < length) {
    for (let rest = length - i - 1; rest >= 0; rest -= 1) h ^= (data[i + rest] as number) << (8 * rest);
    h = Math.imul(h, m);
  }
  h ^= h >>> 13;
  h = Math.imul(h, m);
  return h ^ (h >>> 15);
}
