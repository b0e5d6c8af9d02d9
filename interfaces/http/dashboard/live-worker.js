/** Shared by all pages of a browser, so that they have one live stream together, for each key. */
import { LiveHub } from './live-hub.js';

/** How long a page may say nothing before it is taken for closed; it says that it is there more often. */
const silentFor = 150_000;

/** @type {Map<string | null, LiveHub>} */
const hubs = new Map();

/** @type {any} */ (globalThis).onconnect = (/** @type {MessageEvent} */ { ports: [port] }) => {
  /** @type {(() => void) | undefined} */
  let leave;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let silence;
  const end = () => {
    clearTimeout(silence);
    leave?.();
    leave = undefined;
  };
  port.onmessage = ({ data: { follow, key, isOver } }) => {
    clearTimeout(silence);
    if (isOver) return end();
    silence = setTimeout(end, silentFor);
    if (follow === undefined) return;
    const hub = hubs.get(key) ?? new LiveHub(key);
    hubs.set(key, hub);
    const follower = { deviceId: follow, send: (message) => port.postMessage(message) };
    leave?.();
    leave = () => hub.leave(follower);
    hub.join(follower);
  };
};
