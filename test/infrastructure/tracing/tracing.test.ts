import assert from 'node:assert/strict';
import type { TelemetryPublication, TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { type ProcessTracing, processTracing } from '../../../infrastructure/tracing/process-tracing.ts';
import { openTracing, type SamplerName } from '../../../infrastructure/tracing/tracing.ts';
import { type TraceCollector, traceCollector } from '../../support/trace-collector.ts';

const traceparent = (span: number, flags = '01') =>
  `00-${'a'.repeat(32)}-${span.toString(16).padStart(16, '0')}-${flags}`;

describe('Traces', () => {
  let collector: TraceCollector;
  let warnings: { readonly fields: Readonly<Record<string, unknown>>; readonly message: string }[];
  let tracing: ProcessTracing;

  beforeEach(async () => {
    collector = await traceCollector();
    warnings = [];
    tracing = opened();
  });
  afterEach(async () => {
    await tracing.close();
    await collector.close();
  });

  function opened({
    sampler = 'parentbased_always_on' as SamplerName,
    ratio = 1,
    endpoint = collector.url,
    timeout = 5000,
  } = {}): ProcessTracing {
    const warn = (fields: Readonly<Record<string, unknown>>, message: string) =>
      void warnings.push({ fields, message });
    const options = { headers: { 'x-token': 's p' }, timeout, sampler, ratio, service: 's', version: '1' };
    return processTracing(openTracing({ ...options, endpoint, attributes: {} }, { warn }), {
      devices: { system: 'eventstoredb', name: 'devices' },
      telemetry: { system: 'kafka', name: 'iot' },
    });
  }

  function publication(given: Partial<TelemetryPublication>): TelemetryPublication {
    const events = [{ deviceId: 'd', timestamp: 1, metrics: { secret: 42 } }];
    const base = { id: 'p', type: 'TelemetryRecorded', schemaVersion: 1, receivedAt: 1, actor: 'a' } as const;
    return { ...base, correlationId: 'c', events, ...given };
  }

  async function published(given: Partial<TelemetryPublication>): Promise<TelemetryPublication | undefined> {
    let seen: TelemetryPublication | undefined;
    const log = {
      async publish(one: TelemetryPublication) {
        seen = one;
        return [];
      },
    };
    await tracing.telemetryLog(log).publish(publication(given));
    return seen;
  }

  async function collected() {
    await tracing.close();
    return collector.spans;
  }

  const consumed = async (traceparents: readonly (string | undefined)[], fails?: Error): Promise<void> => {
    const around = tracing.consumer<TelemetryRecord>('telemetry', 'telemetry', (event) => event.traceparent);
    const consumer = around({
      checkpoint: async () => null,
      async consume() {
        if (fails) throw fails;
      },
    });
    const events = traceparents.map((one, i) => ({
      position: String(i),
      ...(one !== undefined && { traceparent: one }),
    })) as unknown as TelemetryRecord[];
    await consumer.consume({ partition: 7, after: null, events });
  };

  it('has a publication follow its request and whoever reads the log follow the publication', async () => {
    const seen = await published({ traceparent: traceparent(1) });
    const [span, ...others] = await collected();
    assert.deepEqual(others, []);
    assert.deepEqual(
      [span?.name, span?.kind, span?.traceId, span?.parentSpanId, span?.status],
      ['publish iot', 'PRODUCER', 'a'.repeat(32), traceparent(1).slice(36, 52), 'UNSET'],
    );
    assert.equal(seen?.traceparent, `00-${span?.traceId}-${span?.spanId}-01`);
    assert.deepEqual({ ...seen, traceparent: undefined }, { ...publication({}), traceparent: undefined });
    assert.deepEqual(span?.attributes, {
      'messaging.system': 'kafka',
      'messaging.destination.name': 'iot',
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.batch.message_count': 1,
      'messaging.message.conversation_id': 'c',
    });
  });

  it('leaves alone what belongs to no recorded trace', async () => {
    for (const given of [{}, { traceparent: traceparent(1, '00') }, { traceparent: 'nonsense' }])
      assert.deepEqual(await published(given), publication(given));
    assert.deepEqual(await collected(), []);
  });

  it('has an append follow its command, and says of an error its name alone', async () => {
    const metadata = { $correlationId: 'c', $causationId: 'k', actor: 'a', recordedAt: '', schemaVersion: 1 };
    const event = { id: 'e', type: 'T', data: { secret: 42 }, metadata: { ...metadata, commandDigest: '' } };
    const traced = { ...event, metadata: { ...event.metadata, traceparent: traceparent(2) } };
    const seen: unknown[] = [];
    const store = tracing.eventStore({
      read: async () => [],
      isDeleted: async () => false,
      async append(_stream, events) {
        seen.push(...events.map((one) => one.metadata.traceparent));
        throw new RangeError('with a secret');
      },
    });
    await assert.rejects(store.append('device-d', [traced, traced], 3), RangeError);
    await assert.rejects(store.append('device-d', [event], 3), RangeError);
    const [span, ...others] = await collected();
    assert.deepEqual(others, []);
    const context = `00-${'a'.repeat(32)}-${span?.spanId}-01`;
    assert.deepEqual(seen, [context, context, undefined]);
    assert.deepEqual(
      [span?.name, span?.status, span?.attributes['error.type'], span?.attributes['fieldlog.stream']],
      ['append devices', 'ERROR', 'RangeError', 'device-d'],
    );
    assert.doesNotMatch(JSON.stringify(span), /secret/);
  });

  it('links a batch to the traces in it, each once, and begins a trace of its own', async () => {
    const [a, b] = [traceparent(1), traceparent(2)];
    await consumed([a, a, b, undefined, a, traceparent(3, '00')]);
    const [span] = await collected();
    assert.deepEqual(
      span?.links.map(({ spanId }) => spanId),
      [a, b].map((one) => one.slice(36, 52)),
    );
    assert.deepEqual(
      [span?.name, span?.kind, span?.parentSpanId, span?.attributes['messaging.batch.message_count']],
      ['project telemetry', 'CONSUMER', '', 6],
    );
    assert.deepEqual(
      [span?.attributes['messaging.destination.partition.id'], span?.attributes['fieldlog.links.complete']],
      ['7', true],
    );
    assert.notEqual(span?.traceId, 'a'.repeat(32));
  });

  it('links to at most 128, and says so', async () => {
    await consumed(Array.from({ length: 500 }, (_, i) => traceparent(i + 1)));
    const [span] = await collected();
    assert.deepEqual([span?.links.length, span?.attributes['fieldlog.links.complete']], [128, false]);
  });

  it('has no span for a batch without a recorded trace, and one with the error for a batch that fails', async () => {
    await consumed([undefined, traceparent(1, '00')]);
    await assert.rejects(consumed([traceparent(1)], new TypeError('no')), TypeError);
    const spans = await collected();
    assert.deepEqual(
      spans.map(({ status, attributes }) => [status, attributes['error.type']]),
      [['ERROR', 'TypeError']],
    );
  });

  it('records a batch with a recorded trace whatever share of requests is, and nothing when asked to', async () => {
    await tracing.close();
    tracing = opened({ sampler: 'parentbased_traceidratio', ratio: 0 });
    await consumed([traceparent(1)]);
    assert.equal((await collected()).length, 1);
    tracing = opened({ sampler: 'always_off' });
    await consumed([traceparent(1)]);
    assert.equal((await collected()).length, 1);
  });

  it('shows the collector its headers', async () => {
    await published({ traceparent: traceparent(1) });
    await collected();
    const [{ url, headers } = {}] = collector.requests;
    assert.deepEqual([url, headers?.['x-token']], ['/v1/traces', 's p']);
    assert.equal(headers?.['content-type'], 'application/x-protobuf');
  });

  it('continues without a collector that fails, and logs how many spans are lost, not each time', async () => {
    collector.behave('fail');
    for (let i = 1; i <= 1200; i += 1) await published({ traceparent: traceparent(i) });
    await tracing.close();
    assert.deepEqual(
      warnings.map(({ message, fields }) => [message, fields.lost]),
      [
        ['Spans could not be exported', 512],
        ['Spans could not be exported', 688],
      ],
    );
  });

  it('keeps at most its queue when the collector hangs, and ends in time', async () => {
    await tracing.close();
    tracing = opened({ timeout: 300 });
    collector.behave('hang');
    for (let i = 1; i <= 6000; i += 1) await published({ traceparent: traceparent(i) });
    const started = performance.now();
    await tracing.close();
    // A limit of 300 ms, and much patience with a busy machine; a hanging export would take for ever.
    assert.ok(performance.now() - started < 10_000);
    assert.deepEqual(collector.spans, []);
    const lost = warnings.map(({ fields }) => Number(fields.lost)).reduce((sum, one) => sum + one);
    assert.ok(lost > 4000 && lost < 6000, `${lost} were reported as lost`);
  });
});
