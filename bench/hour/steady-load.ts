import { setTimeout as pause } from 'node:timers/promises';
import { deviceId, metricsOf } from '../harness/workload.ts';

const perRequest = 10;
const retryAfter = 500;

/** A fleet that sends at one pace whatever the server answers, and asks for a device's last hour once a second. */
export class SteadyLoad {
  /** Readings that were answered with 202. */
  accepted = 0;
  /** Readings that were refused with another status; they are not sent again. */
  refused = 0;
  /** Statuses of refusals, and failed requests by their message. */
  readonly causes: Record<string, number> = {};
  #stopped = false;
  readonly #loops: Promise<void>[];

  constructor(url: string, devices: number, readingsPerSecond: number) {
    this.#loops = [this.#send(url, devices, readingsPerSecond), this.#ask(url, devices)];
  }

  /** Resolves once every request was answered. */
  async end(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #send(url: string, devices: number, readingsPerSecond: number): Promise<void> {
    const underWay = new Set<Promise<void>>();
    const every = (1000 * perRequest) / readingsPerSecond;
    const began = performance.now();
    for (let n = 0; !this.#stopped; n += 1) {
      await pause(Math.max(0, began + n * every - performance.now()));
      const timestamp = Date.now();
      const readings = Array.from({ length: perRequest }, (_, i) => {
        const device = (n * perRequest + i) % devices;
        return { deviceId: deviceId(device), timestamp, metrics: metricsOf(device + n) };
      });
      const request = this.#post(url, JSON.stringify(readings)).finally(() => underWay.delete(request));
      underWay.add(request);
      if (underWay.size >= 200) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  }

  /** A request without an answer is repeated: what was stored of it counts once. */
  async #post(url: string, body: string): Promise<void> {
    for (;;) {
      try {
        const answer = await fetch(`${url}/api/v1/telemetry`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body,
        });
        await answer.arrayBuffer();
        if (answer.status === 202) this.accepted += perRequest;
        else {
          this.refused += perRequest;
          this.#count(String(answer.status));
        }
        return;
      } catch (error) {
        this.#count(String((error as Error).cause ?? error));
        await pause(retryAfter);
      }
    }
  }

  async #ask(url: string, devices: number): Promise<void> {
    for (let n = 0; !this.#stopped; n += 1) {
      const from = new Date(Date.now() - 3_600_000).toISOString();
      try {
        const answer = await fetch(`${url}/api/v1/devices/${deviceId(n % devices)}/telemetry?from=${from}`);
        await answer.arrayBuffer();
        if (answer.status !== 200) this.#count(`query ${answer.status}`);
      } catch (error) {
        this.#count(`query ${String((error as Error).cause ?? error)}`);
      }
      await pause(1000);
    }
  }

  #count(cause: string): void {
    this.causes[cause] = (this.causes[cause] ?? 0) + 1;
  }
}
