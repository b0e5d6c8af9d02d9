import assert from 'node:assert/strict';
import { type CheckedBatch, splitParked } from '../../application/checked-batch.ts';

type Event = { readonly stream: string; readonly position: string };

const event = (stream: string, position: number): Event => ({ stream, position: String(position) });
const decode = ({ position }: Event) => `decoded ${position}`;
const described = ({ stream }: Event) => ({ stream, type: 'Measured' });
const holding = { describe: described, holds: () => true };

function checked(
  valid: readonly Event[],
  { invalid = [], discarded = [] }: { invalid?: readonly Event[]; discarded?: readonly Event[] } = {},
): CheckedBatch<Event, string> {
  return {
    valid,
    decoded: valid.map(decode),
    invalid: new Map(invalid.map((one) => [one, { cause: 'malformed' as const, error: 'not an event' }])),
    discarded: new Map(
      discarded.map(({ position }) => [position, { at: 0, by: 'an operator', reason: 'a test' }]),
    ),
  };
}

describe('Splitting a batch into events to apply and events to park', () => {
  const [a1, b2, a3, b4] = [event('a', 1), event('b', 2), event('a', 3), event('b', 4)];
  const all = [a1, b2, a3, b4];

  it('applies a batch of valid events as it is', () => {
    const { applied, parked, parkedStreams } = splitParked(all, checked(all), new Set(), holding);
    assert.deepEqual([applied, parked, [...parkedStreams]], [all.map(decode), [], []]);
  });

  it('parks an invalid event and the later events of its stream, and applies the others', () => {
    const batch = checked([b2, a3, b4], { invalid: [a1] });
    const { applied, parked, parkedStreams } = splitParked(all, batch, new Set(), holding);
    assert.deepEqual([applied, parked, [...parkedStreams]], [[b2, b4].map(decode), [a1, a3], ['a']]);
  });

  it('parks the events of a stream that was parked before', () => {
    const { applied, parked } = splitParked(all, checked(all), new Set(['b']), holding);
    assert.deepEqual([applied, parked], [[a1, a3].map(decode), [b2, b4]]);
  });

  it('parks a discarded event without parking its stream', () => {
    const batch = checked([b2, a3, b4], { discarded: [a1] });
    const { applied, parked, parkedStreams } = splitParked(all, batch, new Set(), holding);
    assert.deepEqual([applied, parked, [...parkedStreams]], [[b2, a3, b4].map(decode), [a1], []]);
  });

  it('leaves out events that are not selected, whatever is wrong with them', () => {
    const batch = checked([b2, b4], { invalid: [a1] });
    const { applied, parked } = splitParked(all, batch, new Set(), {
      ...holding,
      only: ({ stream }) => stream === 'b',
    });
    assert.deepEqual([applied, parked], [[b2, b4].map(decode), []]);
  });

  it('parks an invalid event alone where its cause holds nothing', () => {
    const batch = checked([b2, a3, b4], { invalid: [a1] });
    const free = {
      ...holding,
      holds: (cause: string, type: string) => cause !== 'malformed' || type !== 'Measured',
    };
    const { applied, parked, parkedStreams } = splitParked(all, batch, new Set(), free);
    assert.deepEqual([applied, parked, [...parkedStreams]], [[b2, a3, b4].map(decode), [a1], []]);
  });

  it('does not change the set of parked streams that it was given', () => {
    const before = new Set(['c']);
    splitParked(all, checked([b2, a3, b4], { invalid: [a1] }), before, holding);
    assert.deepEqual([...before], ['c']);
  });
});
