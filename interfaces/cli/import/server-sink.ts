import type { Reading } from '../../../domain/telemetry.ts';
import { type ApiClient, ApiRefusal, sentPositions } from '../api-client.ts';
import { registerDevices } from '../register-devices.ts';
import type { ReadingSink, RefusedReading } from './reading-sink.ts';

type IngestAnswer = {
  readonly errors: readonly { readonly index: number; readonly detail: string }[];
  readonly positions: readonly string[];
};

const bodyTooLarge = 413;

/** Sends through a server's API; `patient` asks until the read models are there, however long that takes. */
export function serverSink(client: ApiClient, patient: ApiClient): ReadingSink {
  const sent = sentPositions();
  return {
    name: client.url,
    register: (devices) => registerDevices(client, devices),
    send,
    settle: () => sent.untilProjected(patient),
  };

  async function send(readings: readonly Reading[]): Promise<readonly RefusedReading[]> {
    try {
      const { errors, positions } = await client.send<IngestAnswer>('POST', '/api/v1/telemetry', readings);
      sent.add(positions);
      return errors.map(refusedReading);
    } catch (error) {
      if (!(error instanceof ApiRefusal)) throw error;
      if (error.status === bodyTooLarge)
        return readings.length > 1 ? sendHalves(readings) : [{ index: 0, reason: error.message }];
      if (error.problem.accepted !== 0) throw error;
      return (error.problem.errors as IngestAnswer['errors']).map(refusedReading);
    }
  }

  async function sendHalves(readings: readonly Reading[]): Promise<readonly RefusedReading[]> {
    const half = Math.ceil(readings.length / 2);
    const first = await send(readings.slice(0, half));
    const second = await send(readings.slice(half));
    return [...first, ...second.map(({ index, reason }) => ({ index: index + half, reason }))];
  }
}

const refusedReading = ({ index, detail }: IngestAnswer['errors'][number]): RefusedReading => ({
  index,
  reason: detail,
});
