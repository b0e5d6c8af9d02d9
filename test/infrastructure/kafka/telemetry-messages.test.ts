import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { KafkaMessage } from 'kafkajs';
import { comparePositions } from '../../../application/ports/event-source.ts';
import type { TelemetryPublication, TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import {
  decodeMessage,
  encodeEvents,
  encodePublication,
  eventsIn,
  formatPosition,
  type PartitionMessage,
  parsePosition,
  partitionOf,
  telemetryChunks,
} from '../../../infrastructure/kafka/telemetry-codec.ts';
import { newPublication, reading } from '../../contracts/telemetry-log.contract.ts';

const origin = { topic: 'iot', partition: 0 };

/** As a consumer is given it. */
const received = ({ message }: Pick<PartitionMessage, 'message'>, offset = '7'): KafkaMessage => ({
  key: message.key ? Buffer.from(message.key) : null,
  value: message.value === null ? null : Buffer.from(message.value),
  headers: Object.fromEntries(
    Object.entries(message.headers ?? {}).map(([name, value]) => [name, Buffer.from(value as string)]),
  ),
  timestamp: '1700000000000',
  attributes: 0,
  offset,
});

const encoded = (publication: TelemetryPublication, partitions = 12) =>
  encodePublication(publication, encodeEvents(publication), partitions);

const foreign = (value: string | null, key: string | null = null) => received({ message: { key, value } });

describe('A publication in Kafka', () => {
  const devices = ['a', 'b', 'c', 'd', 'e'];
  const publication: TelemetryPublication = {
    ...newPublication(Array.from({ length: 40 }, (_, n) => reading(devices[n % 5] as string, n))),
    receivedAt: 1_700_000_000_123,
    correlationId: 'order 7 / Ω',
    traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
  };

  it('is one message for each partition it goes to, with the devices of that partition', () => {
    const messages = encoded(publication);
    const expected = new Set(devices.map((device) => partitionOf(device, 12)));
    assert.deepEqual(new Set(messages.map(({ partition }) => partition)), expected);
    assert.equal(messages.length, expected.size);
    for (const { partition, message } of messages) {
      assert.equal(message.partition, partition);
      for (const { data } of decodeMessage(received({ message }), origin))
        assert.equal(partitionOf((data as { deviceId: string }).deviceId, 12), partition);
    }
  });

  it('gives every event an id that no other event has, however it is divided', () => {
    const events = encoded(publication).flatMap((message) => decodeMessage(received(message), origin));
    const ids = events.map(({ id }) => id);
    assert.deepEqual(ids.toSorted(), publication.events.map((_, i) => `${publication.id}/${i}`).toSorted());
    for (const { id, data } of events) assert.deepEqual(data, publication.events[Number(id.split('/')[1])]);
  });

  it('says in CloudEvents headers what it is, and how many events it carries', () => {
    for (const packed of encoded(publication)) {
      const message = received(packed);
      const headers = Object.fromEntries(
        Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]),
      );
      const events = decodeMessage(message, origin);
      assert.deepEqual(headers, {
        'content-type': 'application/json',
        ce_specversion: '1.0',
        ce_id: events[0]?.id,
        ce_type: 'TelemetryRecorded',
        ce_source: '/fieldlog',
        ce_time: '2023-11-14T22:13:20.123Z',
        ce_schemaversion: '1',
        ce_correlationid: 'order 7 / Ω',
        ce_actor: 'contract',
        ce_count: String(events.length),
        traceparent: publication.traceparent,
      });
      assert.equal(eventsIn(message), events.length);
    }
  });

  it('is keyed by the device when it is of one, and not keyed when it is of several', () => {
    assert.equal(encoded(newPublication([reading('a', 1), reading('a', 2)]))[0]?.message.key, 'a');
    assert.equal(encoded(newPublication([reading('a', 1), reading('b', 2)]), 1)[0]?.message.key, null);
  });

  it('is divided into more messages where one would not fit into what a broker takes', () => {
    const large = newPublication(
      Array.from({ length: 300 }, (_, n) => ({ ...reading('a', n), metrics: { text: 'ä'.repeat(5000) } })),
    );
    const messages = encoded(large, 1);
    assert.ok(messages.length > 1);
    assert.ok(messages.every(({ bytes }) => bytes < 900_000));
    const events = messages.flatMap((message) => decodeMessage(received(message), origin));
    assert.deepEqual(
      events.map(({ data }) => data),
      large.events,
    );
  });
});

describe('Events that came as JSON', () => {
  const written = (events: TelemetryPublication['events'], eventsJson: string) =>
    encodeEvents({ events, eventsJson });

  it('are what was sent, whatever their texts and wherever there is space', () => {
    const text = fc.string({ unit: fc.constantFrom('}', ',', '{', '[', ']', '"', '\\', ' ', 'ä') });
    const spaces = fc.constantFrom('', ' ', '\n', '\r', '\t');
    const sent = fc.array(fc.record({ text, before: spaces, after: spaces }), { minLength: 1 });
    fc.assert(
      fc.property(sent, (items) => {
        const events = items.map((item, n) => ({ ...reading('a', n), metrics: { text: item.text, n } }));
        const json = items.map(({ before, after }, n) => before + JSON.stringify(events[n]) + after);
        const encodedEvents = written(events, `[${json.join()}]`);
        assert.deepEqual(
          encodedEvents.map(({ json }) => JSON.parse(json)),
          events,
        );
      }),
    );
  });

  it('are not serialized again where the text has no space', () => {
    const events = [reading('a', 1), reading('b', 2)];
    const json = events.map((event) =>
      JSON.stringify(event).replace('"metrics":{', '"metrics":{"zero":0.00,'),
    );
    assert.deepEqual(
      written(events, `[${json.join()}]`).map(({ json }) => json),
      json,
    );
  });
});

describe('A message of another producer', () => {
  const plain = { deviceId: 'a', timestamp: 1, metrics: { t: 20 } };
  const only = (message: KafkaMessage): TelemetryRecord => {
    const events = decodeMessage(message, origin);
    assert.equal(events.length, 1);
    return events[0] as TelemetryRecord;
  };

  it('is a recorded reading when it is one, keyed by its device', () => {
    const text = JSON.stringify(plain);
    assert.deepEqual(only(foreign(text, 'a')), {
      id: 'iot/0/7',
      type: 'TelemetryRecorded',
      schemaVersion: 1,
      position: '8',
      receivedAt: 1_700_000_000_000,
      correlationId: 'iot/0/7',
      actor: 'kafka',
      data: plain,
    });
  });

  it('brings its correlation id and actor along', () => {
    const headers = { ce_correlationid: 'c-1', ce_actor: 'gateway 4' };
    const event = only(received({ message: { key: 'a', value: JSON.stringify(plain), headers } }));
    assert.deepEqual([event.correlationId, event.actor], ['c-1', 'gateway 4']);
  });

  it('is passed on as text when it is under another key, where the order of its device would be lost', () => {
    const text = JSON.stringify(plain);
    for (const key of ['b', null]) assert.equal(only(foreign(text, key)).data, text);
  });

  it('is passed on as text when it is anything else', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        assert.equal(only(foreign(text)).data, text);
      }),
    );
    assert.equal(only(foreign(null, 'a')).data, '');
  });

  it('is passed on as text when it is nearly a publication of Fieldlog', () => {
    const value = JSON.parse(String(encoded(newPublication([reading('a', 1)]))[0]?.message.value));
    assert.notEqual(typeof only(foreign(JSON.stringify(value))).data, 'string');
    for (const field of Object.keys(value)) {
      const text = JSON.stringify({ ...value, [field]: null });
      assert.equal(only(foreign(text)).data, text, `without ${field}`);
    }
    for (const wrong of [{ events: [] }, { indexes: [] }, { traceparent: 7 }]) {
      const text = JSON.stringify({ ...value, ...wrong });
      assert.equal(only(foreign(text)).data, text);
    }
  });
});

describe('Positions in Kafka', () => {
  const messages = fc
    .array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 12 })
    .map((sizes) =>
      sizes.map((size, i) =>
        received(
          encoded(
            newPublication(Array.from({ length: size }, (_, n) => reading('a', n))),
            1,
          )[0] as PartitionMessage,
          String(i + 9),
        ),
      ),
    );
  const start = { offset: 0n, events: 0 };

  it('grow from event to event, and end where the next message begins', () => {
    fc.assert(
      fc.property(messages, (some) => {
        const positions = some
          .flatMap((message) => decodeMessage(message, origin))
          .map(({ position }) => position);
        positions.slice(1).forEach((position, i) => {
          assert.ok(comparePositions(positions[i] as string, position) < 0);
        });
        assert.equal(positions.at(-1), String(some.length + 9));
      }),
    );
  });

  it('lead back to the event that follows, in chunks of any size', () => {
    fc.assert(
      fc.property(messages, fc.integer({ min: 1, max: 9 }), fc.nat(), (some, size, pick) => {
        const all = [...telemetryChunks(some, origin, start, Number.MAX_SAFE_INTEGER)].flat();
        const at = pick % all.length;
        const from = parsePosition(all[at]?.position ?? null);
        const chunks = [...telemetryChunks(some, origin, from, size)];
        assert.deepEqual(chunks.flat(), all.slice(at + 1));
        assert.ok(chunks.every((chunk) => chunk.length > 0 && chunk.length <= size));
        assert.ok(chunks.slice(0, -1).every((chunk) => chunk.length === size));
      }),
    );
  });

  it('are read as they are written, and the very beginning has none', () => {
    for (const position of ['1', '42-3', '9007199254740993-1', null])
      assert.equal(formatPosition(parsePosition(position)), position);
  });
});
