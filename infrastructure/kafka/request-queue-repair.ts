import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';

const leastDelay = 10;
const timeoutCheck = 1000;

/**
 * kafkajs 2.2.4 arms the timer that ends a throttle whenever a request is answered, even with nothing pending, and
 * for `throttledUntil - now`, which is far below zero when there is no throttle: an idle connection then wakes up
 * thousands of times a second and Node warns of negative timeouts. A check is due only while requests are pending;
 * those held back by the limit of requests in flight are looked at when one of these is answered anyway.
 */
RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
  if (this.throttleCheckTimeoutId || this.pending.length === 0) return;
  const delay = Math.max(this.throttledUntil - Date.now(), leastDelay);
  this.throttleCheckTimeoutId = setTimeout(() => {
    this.throttleCheckTimeoutId = null;
    this.checkPendingRequests();
  }, delay);
};

/** Timeouts here are seconds long, but every connection would look for them ten times a second. */
RequestQueue.prototype.scheduleRequestTimeoutCheck = function (this: RequestQueue): void {
  if (!this.enforceRequestTimeout) return;
  this.destroy();
  this.requestTimeoutIntervalId = setInterval(() => {
    const now = Date.now();
    for (const request of this.inflight.values())
      if (now - request.sentAt > request.requestTimeout) request.timeoutRequest();
    if (!this.isConnected()) this.destroy();
  }, timeoutCheck);
};
