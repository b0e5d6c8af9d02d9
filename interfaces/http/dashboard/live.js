/** Follows a device while the page is visible, by the one live stream that all pages of the browser share. */
import { apiKey, noteRead } from './api.js';
import { LiveHub } from './live-hub.js';

/** Of seconds: browsers let timers of hidden pages run once a minute. */
const sayEvery = 30_000;

/**
 * `onBegun` gets a position: a query that waits for it and the events that come from then on have everything. It is
 * called again whenever the page was hidden, or the log no longer had what followed.
 * @param {string} deviceId
 * @param {{ onBegun: (position: string) => void, onEvent: (message: { event: string, data: any }) => void, onState: (state: 'live' | 'cut') => void }} options
 * @returns {() => void} ends it
 */
export function follow(deviceId, { onBegun, onEvent, onState }) {
  /** @type {(() => void) | undefined} */
  let leave;
  const take = (/** @type {any} */ message) => {
    if (!leave) return;
    if (message.begun !== undefined) onBegun(message.begun);
    else if (message.state) onState(message.state);
    else if (message.event === 'lag') noteLag(message.data);
    else onEvent(message);
  };
  const seen = () => {
    if (document.visibilityState === 'visible') leave ??= joined(deviceId, take);
    else end();
  };
  const end = () => {
    leave?.();
    leave = undefined;
  };
  document.addEventListener('visibilitychange', seen);
  window.addEventListener('pagehide', end);
  window.addEventListener('pageshow', seen);
  seen();
  return () => {
    end();
    document.removeEventListener('visibilitychange', seen);
    window.removeEventListener('pagehide', end);
    window.removeEventListener('pageshow', seen);
  };
}

/** Of the read model that queries of the chart are answered from; the device itself is read from its own events. */
function noteLag(/** @type {{ projection: string, events: number | null }} */ { projection, events }) {
  if (projection === 'telemetry') noteRead(projection, events ?? undefined);
}

/** Some browsers of phones have no shared workers: there each page has a stream, of which one is visible. */
function joined(/** @type {string} */ deviceId, /** @type {(message: any) => void} */ take) {
  if (!('SharedWorker' in window)) return joinedHere(deviceId, take);
  const { port } = new SharedWorker('/dashboard/live-worker.js', { type: 'module', name: 'fieldlog-live' });
  port.onmessage = ({ data }) => take(data);
  port.postMessage({ follow: deviceId, key: apiKey.get() });
  const timer = setInterval(() => port.postMessage({}), sayEvery);
  return () => {
    clearInterval(timer);
    port.postMessage({ isOver: true });
    port.close();
  };
}

function joinedHere(/** @type {string} */ deviceId, /** @type {(message: any) => void} */ send) {
  const hub = new LiveHub(apiKey.get());
  const follower = { deviceId, send };
  // What is told at once comes before whoever joins has got its way out.
  queueMicrotask(() => hub.join(follower));
  return () => hub.leave(follower);
}
