import { randomUUID } from 'node:crypto';
import { checkedClient } from '../support/checked-client.ts';
import type { HttpClient } from '../support/http-client.ts';
import { httpDeviceRules } from './http-device-rules.ts';
import { httpQueryRules } from './http-query-rules.ts';
import { httpTelemetryRules } from './http-telemetry-rules.ts';

export type HttpSubject = {
  readonly call: HttpClient;
  readonly url: string;
  /** A name nothing else in the stores has: the suite may run against stores that others use as well. */
  readonly fresh: (what: string) => string;
};

/**
 * What the whole system must do, called over HTTP as any caller would, whatever stores stand behind it. `open`
 * starts the API with its projectors running. Every answer is held to the API's own OpenAPI document.
 */
export function httpContract(
  name: string,
  open: () => Promise<{ url: string; close(): Promise<void> }>,
): void {
  describe(`${name} over HTTP`, function () {
    this.timeout(60_000);
    let served: { url: string; close(): Promise<void> };
    let call: HttpClient;
    const subject: HttpSubject = {
      call: (...args) => call(...args),
      get url() {
        return served.url;
      },
      fresh: (what) => `${what}-${randomUUID().slice(0, 8)}`,
    };

    before(async () => {
      served = await open();
      call = await checkedClient(served.url);
    });
    after(() => served?.close());

    httpDeviceRules(subject);
    httpTelemetryRules(subject);
    httpQueryRules(subject);
  });
}
