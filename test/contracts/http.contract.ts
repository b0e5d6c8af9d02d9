import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { checkedClient } from '../support/checked-client.ts';
import { type HttpClient, httpClient, type Reply } from '../support/http-client.ts';
import { httpAlarmRules } from './http-alarm-rules.ts';
import { httpDeviceQueryRules } from './http-device-query-rules.ts';
import { httpDeviceRules } from './http-device-rules.ts';
import { httpHookRules } from './http-hook-rules.ts';
import { httpInputRules } from './http-input-rules.ts';
import { httpTelemetryQueryRules } from './http-telemetry-query-rules.ts';
import { httpTelemetryRules } from './http-telemetry-rules.ts';

export type HttpSubject = {
  readonly call: HttpClient;
  /** Without a look into the OpenAPI document. */
  readonly unchecked: HttpClient;
  /** All pages of a list, by `next`; `name` is the member of the answer that holds it. */
  readonly pages: (path: string, name: string) => Promise<Record<string, unknown>[][]>;
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
      unchecked: (...args) => httpClient(served.url)(...args),
      pages,
      fresh: (what) => `${what}-${randomUUID().slice(0, 8)}`,
    };

    before(async () => {
      served = await open();
      call = await checkedClient(served.url);
    });
    after(() => served?.close());

    httpDeviceRules(subject);
    httpTelemetryRules(subject);
    httpDeviceQueryRules(subject);
    httpTelemetryQueryRules(subject);
    httpAlarmRules(subject);
    httpHookRules(subject);
    httpInputRules(subject);

    async function pages(path: string, name: string): Promise<Record<string, unknown>[][]> {
      const found: Record<string, unknown>[][] = [];
      for (let next: string | null = ''; next !== null; ) {
        const answer: Reply = await call('GET', `${path}${next && `&cursor=${next}`}`);
        assert.equal(answer.status, 200, answer.text);
        found.push(answer.json[name]);
        next = answer.json.next;
      }
      return found;
    }
  });
}
