import { createHash } from 'node:crypto';
import { v5, v7 } from 'uuid';
import type { Ids } from '../../application/ports/ids.ts';

/** Namespace of every id Fieldlog derives. Never changes: derived ids are stored for ever. */
const namespace = '6f1c3f0e-7f6d-4f0a-9a35-2b1d6f0c8e21';

export const uuidIds: Ids = {
  fresh: () => v7(),
  // JSON keeps ('a', 'bc') and ('ab', 'c') apart.
  derived: (...parts) => v5(JSON.stringify(parts), namespace),
  digest: (text) => createHash('sha256').update(text).digest('hex'),
};
