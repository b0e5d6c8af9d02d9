import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MalformedEvent } from '../../../application/ports/event-registry.ts';
import { eventShapes } from '../../../infrastructure/event-registry.ts';

const anything = fc.oneof(
  fc.constantFrom(null, 0, true, '', 'boiler-7', '-', 'a'.repeat(129), 'a'.repeat(64), [], {}, ['a']),
  fc.constantFrom({ a: 1 }, JSON.parse('{"__proto__":"a"}'), JSON.parse('{"__proto__":{"a":"b"}}')),
  fc.string(),
  fc.dictionary(fc.string(), fc.string()),
);
const hash = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 63, maxLength: 65 });
const mostly = <T>(good: fc.Arbitrary<T>) => fc.oneof({ arbitrary: good, weight: 9 }, anything);
const dataOf = (required: string[]) =>
  fc.record(
    {
      deviceId: mostly(fc.constant('boiler-7')),
      name: mostly(fc.string()),
      type: mostly(fc.string()),
      labels: mostly(fc.dictionary(fc.string(), fc.string())),
      reason: mostly(fc.string()),
      tokenHash: mostly(hash),
    },
    { requiredKeys: required as [] },
  );

const stored = (data: object): object => JSON.parse(JSON.stringify(data));

const fields = {
  DeviceRegistered: ['deviceId', 'name', 'type', 'labels'],
  DeviceDetailsChanged: ['deviceId'],
  DeviceSuspended: ['deviceId', 'reason'],
  DeviceReinstated: ['deviceId'],
  DeviceDecommissioned: ['deviceId', 'reason'],
  DeviceTokenIssued: ['deviceId', 'tokenHash'],
  DeviceErased: ['deviceId', 'type', 'reason'],
} as const;

describe('Data of device events', () => {
  for (const [type, required] of Object.entries(fields))
    it(`of ${type} is read alike with the written-out check and with the schema`, () => {
      const [{ accepts }] = eventShapes[type as keyof typeof fields];
      const outcome = (data: unknown) => {
        try {
          return accepts(data);
        } catch (error) {
          if (!(error instanceof MalformedEvent)) throw error;
          return error.message;
        }
      };
      const some = fc.oneof(
        dataOf([]),
        dataOf([...required]),
        fc.subarray([...required]).chain((only) => dataOf([...only])),
        dataOf([...required]).map((all) =>
          Object.fromEntries(Object.entries(all).filter(([field]) => required.includes(field as never))),
        ),
      );
      fc.assert(
        // Of data with a field that no event has, the schema decides, and leaves the field out.
        fc.property(some.map(stored), (data) =>
          assert.deepEqual(outcome(data), outcome({ ...data, unheardOf: 1 })),
        ),
        { numRuns: 500 },
      );
    });

  it('that is no object is refused', () => {
    for (const [{ accepts }] of Object.values(eventShapes))
      fc.assert(fc.property(anything, (data) => assert.throws(() => accepts(data), MalformedEvent)));
  });
});
