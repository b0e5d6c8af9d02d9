import type { ApiClient } from './api-client.ts';
import { Refused, ServerUnavailable } from './exit-codes.ts';

export type NewDevice = { readonly deviceId: string; readonly name: string; readonly type: string };

type BulkAnswer = {
  readonly outcomes: readonly {
    readonly status: number;
    readonly deviceId: string;
    readonly detail?: string;
  }[];
};

const atOnce = 1000;
const alreadyRegistered = 409;

/** Registers those that are not registered yet; resolves with how many those were. */
export async function registerDevices(client: ApiClient, devices: readonly NewDevice[]): Promise<number> {
  let added = 0;
  for (let at = 0; at < devices.length; at += atOnce) {
    const some = devices.slice(at, at + atOnce);
    const { outcomes } = await client.send<BulkAnswer>('POST', '/api/v1/devices/bulk', some);
    for (const { status, deviceId, detail } of outcomes) {
      if (status < 300) added += 1;
      else if (status >= 500) throw new ServerUnavailable(`${deviceId} cannot be registered now: ${detail}`);
      else if (status !== alreadyRegistered) throw new Refused(`${deviceId} cannot be registered: ${detail}`);
    }
  }
  return added;
}
