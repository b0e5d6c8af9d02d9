import { resolve } from 'node:path';
import { BroadcastChannel } from 'node:worker_threads';
import { StorageFault } from '../../application/ports/storage.ts';

const channelOf = (path: string): string => `fieldlog damage ${resolve(path)}`;

/** Has whoever watches the file know, in every thread of the process: what is read of it next may be whole. */
export function announceDamage(path: string, reason: string): void {
  const channel = new BroadcastChannel(channelOf(path));
  channel.postMessage(reason);
  channel.close();
}

/** What any thread of this process has met of a file that was damaged. */
export class KnownDamage {
  readonly #channel: BroadcastChannel;
  #reason: string | undefined;

  /** `onFound` is called once, with what is wrong and what to do. */
  constructor(path: string, onFound: (reason: string) => void) {
    this.#channel = new BroadcastChannel(channelOf(path));
    this.#channel.unref();
    this.#channel.onmessage = ({ data }) => {
      if (this.#reason === undefined) onFound(String(data));
      this.#reason ??= String(data);
    };
  }

  /** Throws a `StorageFault` once some was met: a damaged file does not mend itself while it is open. */
  assertNone(): void {
    if (this.#reason !== undefined) throw new StorageFault('damaged', this.#reason);
  }

  async close(): Promise<void> {
    this.#channel.close();
  }
}
