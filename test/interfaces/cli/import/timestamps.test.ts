import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { readingLimits } from '../../../../domain/telemetry.ts';
import { BadValue } from '../../../../interfaces/cli/import/cells.ts';
import { timeReader } from '../../../../interfaces/cli/import/timestamps.ts';

const iso = (time: number) => new Date(time).toISOString();

describe('A time in a history', () => {
  const read = timeReader('auto', 'UTC');

  const understood: readonly (readonly [text: string | number, time: string])[] = [
    ['2010-01-02', '2010-01-02T00:00:00.000Z'],
    [' 2010-01-02 ', '2010-01-02T00:00:00.000Z'],
    ['2010-01', '2010-01-01T00:00:00.000Z'],
    ['2010/1/2', '2010-01-02T00:00:00.000Z'],
    ['2010.01.02 3:04', '2010-01-02T03:04:00.000Z'],
    ['2010-01-02T03:04:05', '2010-01-02T03:04:05.000Z'],
    ['2010-01-02T03:04:05.678901', '2010-01-02T03:04:05.678Z'],
    ['2010-01-02 03:04:05,5', '2010-01-02T03:04:05.500Z'],
    ['2010-01-02T03:04:05+05:30', '2010-01-01T21:34:05.000Z'],
    ['2010-01-02 03:04 -0800', '2010-01-02T11:04:00.000Z'],
    ['2010-01-02 03:04 UTC', '2010-01-02T03:04:00.000Z'],
    ['Jan 2 2010', '2010-01-02T00:00:00.000Z'],
    ['january 2, 2010 03:04', '2010-01-02T03:04:00.000Z'],
    ['2 Jan 2010', '2010-01-02T00:00:00.000Z'],
    ['02-Sep-2010', '2010-09-02T00:00:00.000Z'],
    ['Sat, 02 Jan 2010 03:04:05 GMT', '2010-01-02T03:04:05.000Z'],
    ['0001-01-01', '0001-01-01T00:00:00.000Z'],
    [1262401445000, '2010-01-02T03:04:05.000Z'],
    ['1262401445000', '2010-01-02T03:04:05.000Z'],
    [0, '1970-01-01T00:00:00.000Z'],
  ];
  for (const [text, time] of understood)
    it(`may be written ${JSON.stringify(text)}`, () => assert.equal(iso(read(text)), time));

  const refused: readonly (readonly [value: unknown, reason: RegExp])[] = [
    ['01/02/2010', /has no certain order: name it, such as --time-format d\/M\/yyyy or M\/d\/yyyy/],
    ['31.12.1999 10:00', /has no certain order/],
    ['1262401445', /may be many things: name it, --time-format epoch-s/],
    ['2010', /may be many things/],
    ['20100102', /may be many things/],
    ['2010-02-29', /must be a time that calendar and clock have/],
    ['2010-13-01', /must be a time that calendar and clock have/],
    ['2010-01-02T24:30:00', /must be a time that calendar and clock have/],
    ['Foo 2 2010', /must be a time that calendar and clock have/],
    ['yesterday', /is no form of time known here/],
    ['', /is no form of time known here/],
    ['0000-01-01', /must be a time/],
    [null, /must be a time as text/],
    [{ at: 1 }, /must be a time as text/],
    [1e300, /years 1 to 9999/],
  ];
  for (const [value, reason] of refused)
    it(`may not be ${JSON.stringify(value)}`, () =>
      assert.throws(
        () => read(value),
        (error) => error instanceof BadValue && reason.test(error.message),
      ));

  it('may be counted from 1970 where that is said', () => {
    assert.equal(iso(timeReader('epoch-s', 'UTC')('1262401445.5')), '2010-01-02T03:04:05.500Z');
    assert.equal(iso(timeReader('epoch-s', 'UTC')(1262401445)), '2010-01-02T03:04:05.000Z');
    assert.equal(iso(timeReader('epoch-ms', 'UTC')('12345')), '1970-01-01T00:00:12.345Z');
    assert.throws(() => timeReader('epoch-s', 'UTC')('12h'), BadValue);
  });

  it('may have any form that is named', () => {
    assert.equal(iso(timeReader('d/M/yyyy', 'UTC')('1/2/2010')), '2010-02-01T00:00:00.000Z');
    assert.equal(
      iso(timeReader('M/d/yyyy h:mm a', 'America/New_York')('7/4/2010 1:05 PM')),
      '2010-07-04T17:05:00.000Z',
    );
    assert.equal(
      iso(timeReader('dd.MM.yyyy HH:mm ZZ', 'Asia/Tokyo')('04.07.2010 01:00 +02:00')),
      '2010-07-03T23:00:00.000Z',
    );
    assert.throws(() => timeReader('d/M/yyyy', 'UTC')('2010-02-01'), /must be a time in the form d\/M\/yyyy/);
    assert.throws(() => timeReader('iso', 'UTC')('2010/02/01'), /must be ISO 8601/);
  });

  it('is read by the clocks of a zone, unless it says its offset', () => {
    const inSeattle = timeReader('auto', 'America/Los_Angeles');
    assert.equal(iso(inSeattle('2010-01-02')), '2010-01-02T08:00:00.000Z');
    assert.equal(iso(inSeattle('2010-07-02 00:00')), '2010-07-02T07:00:00.000Z');
    assert.equal(iso(inSeattle('2010-07-02T00:00Z')), '2010-07-02T00:00:00.000Z');
  });

  it('that the clocks of its zone skipped is refused, and of two that they showed the first is meant', () => {
    const inSeattle = timeReader('auto', 'America/Los_Angeles');
    assert.equal(iso(inSeattle('2010-03-14T01:59:59')), '2010-03-14T09:59:59.000Z');
    assert.throws(
      () => inSeattle('2010-03-14T02:30'),
      /was never shown by the clocks of America\/Los_Angeles/,
    );
    assert.equal(iso(inSeattle('2010-03-14T03:00')), '2010-03-14T10:00:00.000Z');
    assert.equal(iso(inSeattle('2010-11-07T01:30')), '2010-11-07T08:30:00.000Z');
    assert.equal(iso(inSeattle('2010-11-07T02:00')), '2010-11-07T10:00:00.000Z');
  });

  it('comes back as it was written, whatever the zone', () => {
    const zones = ['UTC', 'America/Los_Angeles', 'Europe/Berlin', 'Australia/Lord_Howe', 'Asia/Kathmandu'];
    const anyTime = fc.integer({ min: Date.UTC(1950), max: Date.UTC(2040) });
    fc.assert(
      fc.property(fc.constantFrom(...zones), anyTime, (zone, time) => {
        const clock = DateTime.fromMillis(time, { zone }).toFormat("yyyy-MM-dd'T'HH:mm:ss.SSS");
        const again = DateTime.fromMillis(timeReader('auto', zone)(clock), { zone });
        assert.equal(again.toFormat("yyyy-MM-dd'T'HH:mm:ss.SSS"), clock);
        assert.ok(again.toMillis() <= time);
      }),
    );
  });

  it('is kept to the millisecond over all years there can be', () => {
    fc.assert(
      fc.property(fc.integer({ min: readingLimits.earliest, max: readingLimits.latest }), (time) => {
        assert.equal(read(iso(time)), time);
      }),
    );
  });
});
