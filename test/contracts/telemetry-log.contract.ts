import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { comparePositions, type EventSource } from '../../application/ports/event-source.ts';
import type {
  TelemetryLog,
  TelemetryPublication,
  TelemetryRecord,
} from '../../application/ports/telemetry-log.ts';
import type { TelemetryEvent } from '../../domain/telemetry.ts';
import { eventually } from '../support/eventually.ts';
import { RecordingConsumer, runUntil } from '../support/recording-consumer.ts';
import type { Opened } from './opened.ts';

type Ports = { readonly log: TelemetryLog; readonly source: EventSource<TelemetryRecord> };
type Data = TelemetryEvent['data'];

export const reading = (deviceId: string, n: number): Data => ({
  deviceId,
  timestamp: 1_767_225_600_000 + n,
  metrics: { n },
});

/** A publication of events with ids and a correlation of its own. */
export const newPublication = (events: readonly Data[]): TelemetryPublication => ({
  id: randomUUID(),
  type: 'TelemetryRecorded',
  schemaVersion: 1,
  receivedAt: Date.now(),
  correlationId: randomUUID(),
  actor: 'contract',
  events,
});

export const newDevice = (): string => `contract-${randomUUID()}`;

const deviceOf = ({ data }: TelemetryRecord) => (data as Partial<Data> | null)?.deviceId;

/** What every TelemetryLog must do, seen through the source that reads it. */
export function telemetryLogContract(adapter: string, open: () => Promise<Opened<Ports>>): void {
  describe(`${adapter} honours TelemetryLog`, function () {
    this.timeout(60_000);
    let opened: Opened<Ports>;
    let ports: Ports;

    before(async () => {
      opened = await open();
      ports = opened;
    });
    after(() => opened?.close());

    /** Publishes and reads back what the log then holds of `device`, in the order of the log. */
    async function logged(
      publish: () => Promise<unknown>,
      { mine, count }: { mine: (event: TelemetryRecord) => boolean; count: number },
    ): Promise<readonly TelemetryRecord[]> {
      const ends = await ports.source.ends();
      await publish();
      const read = async () => {
        const consumer = new RecordingConsumer<TelemetryRecord>(ends);
        // Between partitions there is no order to keep.
        const found = () =>
          consumer.batches
            .toSorted((a, b) => a.partition - b.partition)
            .flatMap(({ events }) => events)
            .filter(mine);
        await runUntil(ports.source, consumer, randomUUID(), () =>
          eventually(() => assert.ok(found().length >= count, `${found().length} of ${count} events`), {
            within: 30_000,
          }),
        );
        consumer.verdict();
        return found();
      };
      const [first, again] = [await read(), await read()];
      assert.deepEqual(again.map(plain), first.map(plain), 'a second reading differs');
      assert.equal(first.length, count);
      assert.equal(new Set(first.map(({ id }) => id)).size, count, 'ids are unique');
      return first;
    }

    it('finds where the events that came from some moment on begin', async () => {
      const { log, source } = ports;
      const device = newDevice();
      const publish = (n: number) =>
        log.publish(newPublication([reading(device, n), reading(device, n + 1)]));
      const [before] = await publish(1);
      assert.ok(before);
      const { partition } = before;
      const at = async (time: number) => (await source.positionsBefore?.(time))?.get(partition) ?? null;
      // The log's clock need not be this one.
      const moment = await eventually(async () => {
        const now = Date.now();
        assert.equal(comparePositions(await at(now), before.position), 0);
        return now;
      });
      await publish(3);
      await publish(5);
      assert.equal(comparePositions(await at(moment), before.position), 0);
      assert.ok(comparePositions(await at(0), before.position) < 0);
      assert.equal(
        comparePositions(await at(Date.now() + 3_600_000), (await source.ends()).get(partition) ?? null),
        0,
      );
    });

    it('keeps the order of a device within and across publications', async () => {
      const devices = Array.from({ length: 5 }, newDevice);
      const events = await logged(
        async () => {
          for (let n = 0; n < 60; n += 3)
            await ports.log.publish(
              newPublication([n, n + 1, n + 2].flatMap((k) => devices.map((device) => reading(device, k)))),
            );
        },
        { mine: (event) => devices.includes(deviceOf(event) as string), count: 300 },
      );
      for (const device of devices) {
        const seen = events.filter((event) => deviceOf(event) === device).map(({ data }) => data);
        assert.deepEqual(
          seen,
          Array.from({ length: 60 }, (_, n) => reading(device, n)),
        );
      }
    });

    it('names events after their publication, and carries what is said of it', async () => {
      const device = newDevice();
      const publication: TelemetryPublication = {
        ...newPublication([reading(device, 1), reading(device, 2)]),
        type: 'TelemetryRetracted',
        schemaVersion: 3,
        receivedAt: 1_700_000_000_123,
        correlationId: 'order 7 / Ω',
        actor: 'Jürgen',
        traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
      };
      const events = await logged(() => ports.log.publish(publication), {
        mine: (e) => deviceOf(e) === device,
        count: 2,
      });
      const { events: _, id, ...said } = publication;
      for (const [i, event] of events.entries()) {
        const { position: __, id: eventId, data, ...carried } = plain(event);
        assert.deepEqual(carried, said);
        assert.match(eventId, new RegExp(`^${id}/\\d+$`));
        assert.deepEqual(data, publication.events[i]);
      }
    });

    it('leaves traceparent out when the publication has none', async () => {
      const device = newDevice();
      const [event] = await logged(() => ports.log.publish(newPublication([reading(device, 1)])), {
        mine: (e) => deviceOf(e) === device,
        count: 1,
      });
      assert.equal(event?.traceparent, undefined);
    });

    it('keeps every value as it was, and passes on what is not a reading', async () => {
      const deviceId = newDevice();
      const odd = [
        {
          deviceId,
          timestamp: -1,
          metrics: {
            'a.b/c': 0.1,
            t: 'Zürich 🌡️ \u0000"\\\n',
            yes: true,
            small: 5e-324,
            large: 1.7976931348623157e308,
          },
        },
        { deviceId, timestamp: 'yesterday', metrics: null },
        { deviceId, unexpected: [{ deep: { er: [] } }] },
      ] as unknown as Data[];
      const events = await logged(() => ports.log.publish(newPublication(odd)), {
        mine: (e) => deviceOf(e) === deviceId,
        count: odd.length,
      });
      assert.deepEqual(
        events.map(({ data }) => data),
        odd,
      );
    });

    it('keeps events that come with their JSON as it keeps others', async () => {
      const deviceId = newDevice();
      const events = [reading(deviceId, 1), { ...reading(deviceId, 2), metrics: { 'é "quoted"': 'ü\n' } }];
      const eventsJson = ` [ ${events.map((event) => JSON.stringify(event, null, 2)).join(' ,\r\n')} ]\n`;
      const found = await logged(() => ports.log.publish({ ...newPublication(events), eventsJson }), {
        mine: (e) => deviceOf(e) === deviceId,
        count: 2,
      });
      assert.deepEqual(
        found.map(({ data }) => data),
        events,
      );
      assert.ok(found.every((event) => !('eventsJson' in event)));
    });

    it('takes a publication of thousands of events', async () => {
      const devices = [newDevice(), newDevice(), newDevice()];
      const data = Array.from({ length: 5000 }, (_, n) => reading(devices[n % 3] as string, n));
      const events = await logged(() => ports.log.publish(newPublication(data)), {
        mine: (event) => devices.includes(deviceOf(event) as string),
        count: data.length,
      });
      const byTime = (a: TelemetryRecord, b: TelemetryRecord) =>
        (a.data as (typeof data)[0] & { timestamp: number }).timestamp -
        (b.data as { timestamp: number }).timestamp;
      assert.deepEqual(
        [...events].sort(byTime).map(({ data }) => data),
        data,
      );
    });

    it('answers with the last position of each partition the events went to', async () => {
      const device = newDevice();
      let answer: Awaited<ReturnType<TelemetryLog['publish']>> = [];
      const events = await logged(
        async () => {
          answer = await ports.log.publish(newPublication([reading(device, 1), reading(device, 2)]));
        },
        { mine: (e) => deviceOf(e) === device, count: 2 },
      );
      assert.equal(answer.length, 1, 'one device is in one partition');
      assert.equal(answer[0]?.position, events[1]?.position);
      const end = (await ports.source.ends()).get(answer[0]?.partition as number);
      assert.ok(comparePositions(answer[0]?.position as string, end as string) <= 0);
    });

    it('keeps all of many concurrent publications, each once', async () => {
      const devices = Array.from({ length: 40 }, newDevice);
      const published = devices.map((device) =>
        newPublication([1, 2, 3, 4, 5].map((n) => reading(device, n))),
      );
      const events = await logged(
        () => Promise.all(published.map((publication) => ports.log.publish(publication))),
        {
          mine: (event) => devices.includes(deviceOf(event) as string),
          count: 200,
        },
      );
      for (const [i, device] of devices.entries()) {
        const of = events.filter((event) => deviceOf(event) === device);
        assert.deepEqual(
          of.map(({ data }) => data),
          published[i]?.events,
        );
        assert.ok(of.every(({ correlationId }) => correlationId === published[i]?.correlationId));
      }
    });

    it('keeps what it acknowledged when opened anew', async function () {
      if (!opened.reopen) return this.skip();
      const device = newDevice();
      const events = await logged(
        async () => {
          await ports.log.publish(newPublication([reading(device, 1)]));
          ports = await opened.reopen!();
          await ports.log.publish(newPublication([reading(device, 2)]));
        },
        { mine: (e) => deviceOf(e) === device, count: 2 },
      );
      assert.deepEqual(
        events.map(({ data }) => data),
        [reading(device, 1), reading(device, 2)],
      );
    });
  });
}

/** Adapters may give events as objects of a class of theirs. */
const plain = ({
  id,
  type,
  schemaVersion,
  position,
  receivedAt,
  correlationId,
  actor,
  traceparent,
  data,
}: TelemetryRecord) => ({
  id,
  type,
  schemaVersion,
  position,
  receivedAt,
  correlationId,
  actor,
  data,
  ...(traceparent !== undefined && { traceparent }),
});
