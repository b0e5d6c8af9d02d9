const seed = 0x9747b28c;
const m = 0x5bd1e995;

/** A buffer for each key would cost more than the rest. Long enough for any device id, three bytes a character. */
const scratch = Buffer.allocUnsafe(384);

/**
 * The partition Kafka's own clients choose for this key, so that every producer puts a device in the same one.
 * kafkajs has the same function on 64-bit integers, at many times the cost.
 */
export function partitionOf(key: string, partitions: number): number {
  const fits = 3 * key.length <= scratch.length;
  const bytes = fits ? scratch : Buffer.from(key);
  const length = fits ? scratch.write(key) : bytes.length;
  return (murmur2(bytes, length) & 0x7fffffff) % partitions;
}

function murmur2(data: Buffer, length: number): number {
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
