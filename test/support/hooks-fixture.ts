import assert from 'node:assert/strict';
import { announce } from '../../application/detection/announcing.ts';
import { type SendingOutcome, sendToHooks } from '../../application/detection/sending.ts';
import type { Announcement } from '../../application/ports/detection.ts';
import type { HookDefinition } from '../../domain/detection/hook.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { detectionFixture } from './detection-fixture.ts';
import { eventually } from './eventually.ts';
import { hookReceiver } from './hook-receiver.ts';
import { quiet } from './replay-fixture.ts';

type SendingPorts = Parameters<typeof sendToHooks>[0];
export type HookReceiver = Awaited<ReturnType<typeof hookReceiver>>;

export const operator = { correlationId: 'c', actor: 'test' };

/** The whole application with two devices, `a` and `b`, and a clock that can be set forward. */
export class HooksFixture {
  readonly detection: Awaited<ReturnType<typeof detectionFixture>>;
  /** Milliseconds by which the clock is ahead. */
  ahead = 0;
  /** Milliseconds. */
  notifyWithin = 3_600_000;
  readonly outcomes: SendingOutcome[] = [];
  readonly announced: string[] = [];
  /** Of the readings, which are of these days. */
  start = Date.now() - 60_000;
  readonly clock = { now: () => Date.now() + this.ahead };
  readonly #receivers: HookReceiver[] = [];
  readonly #stops: (() => Promise<void>)[] = [];

  private constructor(detection: Awaited<ReturnType<typeof detectionFixture>>) {
    this.detection = detection;
  }

  /** `env` says where its stores are, if not in files of its own. */
  static async open(env: Readonly<Record<string, string>> = {}): Promise<HooksFixture> {
    const fixture = new HooksFixture(await detectionFixture({ ...env, HOOKS_ALLOW: '127.0.0.1' }));
    await fixture.detection.register('a');
    await fixture.detection.register('b');
    return fixture;
  }

  async close(): Promise<void> {
    for (const one of this.#receivers) await one.close();
    for (const stop of this.#stops) await stop();
    await this.detection.close();
  }

  async ports(replaced: Partial<SendingPorts> = {}): Promise<SendingPorts> {
    const { container } = this.detection;
    return {
      deliveries: await container.getAsync(s.hookDeliveries),
      hooks: await container.getAsync(s.hooks),
      sender: await container.getAsync(s.hookSender),
      alarms: await container.getAsync(s.alarmQueries),
      ids: await container.getAsync(s.ids),
      clock: this.clock,
      log: quiet,
      onTried: (outcome) => void this.outcomes.push(outcome),
      random: () => 0,
      ...replaced,
    };
  }

  /** Sends until the answered function is called. */
  async sending(replaced: Partial<SendingPorts> = {}): Promise<() => Promise<void>> {
    const all = await this.ports(replaced);
    return this.#running((signal) => sendToHooks(all, signal));
  }

  /** Detects all there is and announces it. */
  async detect(): Promise<void> {
    const { container, consuming, consumed, pipelines } = this.detection;
    const records = await container.getAsync(s.alarmRecords);
    const all = {
      records,
      eventStore: await container.getAsync(s.eventStore),
      registry: await container.getAsync(s.registry),
      ids: await container.getAsync(s.ids),
      clock: this.clock,
      log: quiet,
      notifyWithin: this.notifyWithin,
      onAnnounced: ({ kind, change }: Announcement) => void this.announced.push(`${kind} ${change}`),
    };
    const stopDetecting = consuming([pipelines.detection]);
    await consumed('detection');
    await stopDetecting();
    const stop = this.#running((signal) => announce(all, signal));
    await eventually(async () => assert.deepEqual(await records.announcements(1), []));
    await stop();
  }

  /** A hook to a receiver of its own. */
  async hook(
    hookId: string,
    answer?: Parameters<typeof hookReceiver>[0],
    kind?: HookDefinition['kind'],
  ): Promise<HookReceiver> {
    const receiver = await hookReceiver(answer);
    this.#receivers.push(receiver);
    await this.hookTo(hookId, receiver.url, kind);
    return receiver;
  }

  async hookTo(hookId: string, url: string, kind?: HookDefinition['kind']): Promise<void> {
    const hooks = await this.detection.container.getAsync(s.hooks);
    await hooks.create(hookId, { url, ...(kind && { kind }) }, operator);
  }

  /** Readings of the metric `t`, a second after each other. */
  measure(deviceId: string, ...values: readonly number[]): Promise<unknown> {
    const readings = values.map((t, i) => [this.start + 1000 * i, { t }] as const);
    return this.detection.measure(deviceId, readings);
  }

  async listed(hookId: string) {
    return (await this.ports()).deliveries.list(hookId, { limit: 100 });
  }

  emptied(hookId: string): Promise<void> {
    return eventually(async () => assert.deepEqual(await this.listed(hookId), []), { within: 20_000 });
  }

  #running(work: (signal: AbortSignal) => Promise<void>): () => Promise<void> {
    const stopped = new AbortController();
    const over = work(stopped.signal);
    const stop = async () => {
      stopped.abort();
      await over;
    };
    this.#stops.push(stop);
    return stop;
  }
}
