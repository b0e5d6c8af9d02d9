/** The parts of kafkajs that are reached into: see `request-queue-repair.ts` and `connection-repair.ts`. */
declare module 'kafkajs/src/network/requestQueue/index.js' {
  export default class RequestQueue {
    pending: unknown[];
    /** Epoch milliseconds. */
    throttledUntil: number;
    throttleCheckTimeoutId: NodeJS.Timeout | null;
    checkPendingRequests(): void;
    scheduleCheckPendingRequests(): void;
  }
}

declare module 'kafkajs/src/network/connection.js' {
  export default class Connection {
    connect(): Promise<unknown>;
  }
}
