import { hash, randomFillSync } from 'node:crypto';
import { parse, v7 } from 'uuid';
import type { Ids } from '../../application/ports/system.ts';

/** Namespace of every id Fieldlog derives. Never changes: derived ids are stored for ever. */
const namespace = parse('6f1c3f0e-7f6d-4f0a-9a35-2b1d6f0c8e21');

export const uuidIds: Ids = {
  fresh: freshIds(),
  // JSON keeps ('a', 'bc') and ('ab', 'c') apart.
  derived: (...parts) => nameBased(JSON.stringify(parts)),
  digest: (text) => hash('sha256', text),
};

/** UUIDv5, made with one call for the hash: the library's way takes eight times as long, once for each event. */
function nameBased(name: string): string {
  const digest = hash('sha1', Buffer.concat([namespace, Buffer.from(name)]));
  const variant = '89ab'.charAt(Number.parseInt(digest.charAt(16), 16) & 3);
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-5${digest.slice(13, 16)}-${variant}${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
}

/**
 * UUIDv7, each greater than the one before. Random bytes are fetched for many at once: a system call for each id
 * was a third of what a small request cost.
 */
function freshIds(): () => string {
  const random = new Uint8Array(16 * 256);
  let used = random.length;
  let msecs = 0;
  let seq = 0;
  return () => {
    if (used === random.length) {
      randomFillSync(random);
      used = 0;
    }
    const bytes = random.subarray(used, used + 16);
    used += 16;
    const now = Date.now();
    if (now > msecs) {
      msecs = now;
      // Of its 32 bits one stays free, so that counting on within the millisecond never overflows.
      seq = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) >>> 1;
    } else seq += 1;
    return v7({ random: bytes, msecs, seq });
  };
}
