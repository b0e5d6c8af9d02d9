import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { readingLimits } from '../../../../domain/telemetry.ts';
import { InvalidCell } from '../../../../interfaces/import/cells.ts';
import { type TimeOptions, timeReader } from '../../../../interfaces/import/timestamps.ts';

const reader = (format: string, zone: string, epoch?: TimeOptions['epoch']) => {
  const read = timeReader({ format, zone, epoch });
  return (value: unknown) => read(value, '');
};

const iso = (time: number) => new Date(time).toISOString();

describe('A time in a history', () => {
  const read = reader('auto', 'UTC');

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
    ['2010-01-02 24:00', '2010-01-03T00:00:00.000Z'],
    ['2010-12-31T24:00:00Z', '2011-01-01T00:00:00.000Z'],
    ['20100102T030405Z', '2010-01-02T03:04:05.000Z'],
    ['20100102T0304+0100', '2010-01-02T02:04:00.000Z'],
    ['2010-01-02 12:00:00 AM', '2010-01-02T00:00:00.000Z'],
    ['Jan 2 2010 12:30 pm', '2010-01-02T12:30:00.000Z'],
  ];
  for (const [text, time] of understood)
    it(`may be written ${JSON.stringify(text)}`, () => assert.equal(iso(read(text)), time));

  const refused: readonly (readonly [value: unknown, reason: RegExp])[] = [
    ['01/02/2010', /has no certain order: name it, such as --time-format d\/M\/yyyy or M\/d\/yyyy/],
    ['31.12.1999 10:00', /has no certain order/],
    ['1262401445', /may be many things: name it, --time-format epoch-s/],
    [1262401445000, /may be many things/],
    ['2010', /may be many things/],
    ['20100102', /may be many things/],
    ['2010-02-29', /must be a time that calendar and clock have/],
    ['2010-13-01', /must be a time that calendar and clock have/],
    ['2010-01-02T24:30:00', /must be a time that calendar and clock have/],
    ['Foo 2 2010', /must be a time that calendar and clock have/],
    ['2010-01-02 24:00:01', /must be a time that calendar and clock have/],
    ['2010-01-02 13:00 PM', /must be a time that calendar and clock have/],
    ['yesterday', /is no form of time known here/],
    ['', /"" must be a time/],
    ['0000-01-01', /must be a time/],
    [null, /null must be a time/],
    [{ at: 1 }, /^{"at":1} must be a time/],
    [true, /true must be a time/],
    [1e300, /may be many things/],
  ];
  for (const [value, reason] of refused)
    it(`may not be ${JSON.stringify(value)}`, () =>
      assert.throws(
        () => read(value),
        (error) => error instanceof InvalidCell && reason.test(error.message),
      ));

  it('may be counted from 1970 where that is said', () => {
    assert.equal(iso(reader('epoch-s', 'UTC')('1262401445.5')), '2010-01-02T03:04:05.500Z');
    assert.equal(iso(reader('epoch-s', 'UTC')(1262401445)), '2010-01-02T03:04:05.000Z');
    assert.equal(iso(reader('epoch-ms', 'UTC')('12345')), '1970-01-01T00:00:12.345Z');
    assert.equal(iso(reader('epoch-s', 'UTC')('-1.5')), '1969-12-31T23:59:58.500Z');
    assert.equal(iso(reader('epoch-us', 'UTC')('1262401445678901')), '2010-01-02T03:04:05.678Z');
    assert.equal(iso(reader('epoch-ns', 'UTC')(1262401445678901234n)), '2010-01-02T03:04:05.678Z');
    assert.equal(iso(reader('epoch-ns', 'UTC')('999999')), '1970-01-01T00:00:00.000Z');
    assert.throws(() => reader('epoch-s', 'UTC')('12h'), InvalidCell);
    assert.throws(() => reader('epoch-ms', 'UTC')(1.5), /1.5 must be whole milliseconds/);
  });

  it('is a number that counts what the whole file shows, and others are refused', () => {
    assert.equal(iso(reader('auto', 'UTC', 's')('1262401445')), '2010-01-02T03:04:05.000Z');
    assert.equal(iso(reader('auto', 'UTC', 'ms')(1262401445000)), '2010-01-02T03:04:05.000Z');
    assert.throws(() => reader('auto', 'UTC', 's')('1262401445000'), /may be many things/);
    assert.throws(() => reader('auto', 'UTC', 's')('2010'), /may be many things/);
  });

  it('may have any form that is named', () => {
    assert.equal(iso(reader('d/M/yyyy', 'UTC')('1/2/2010')), '2010-02-01T00:00:00.000Z');
    assert.equal(
      iso(reader('M/d/yyyy h:mm a', 'America/New_York')('7/4/2010 1:05 PM')),
      '2010-07-04T17:05:00.000Z',
    );
    assert.equal(
      iso(reader('dd.MM.yyyy HH:mm ZZ', 'Asia/Tokyo')('04.07.2010 01:00 +02:00')),
      '2010-07-03T23:00:00.000Z',
    );
    assert.throws(() => reader('d/M/yyyy', 'UTC')('2010-02-01'), /must be a time in the form d\/M\/yyyy/);
    assert.throws(() => reader('iso', 'UTC')('2010/02/01'), /must be ISO 8601/);
    assert.equal(iso(reader('yyyy', 'UTC')(1931)), '1931-01-01T00:00:00.000Z');
    assert.equal(iso(reader('d/M/yyyy HH:mm', 'UTC')('31/12/2009 24:00')), '2010-01-01T00:00:00.000Z');
  });

  it('is read by the clocks of a zone, unless it says its offset', () => {
    const inSeattle = reader('auto', 'America/Los_Angeles');
    assert.equal(iso(inSeattle('2010-01-02')), '2010-01-02T08:00:00.000Z');
    assert.equal(iso(inSeattle('2010-07-02 00:00')), '2010-07-02T07:00:00.000Z');
    assert.equal(iso(inSeattle('2010-07-02T00:00Z')), '2010-07-02T00:00:00.000Z');
    assert.equal(iso(reader('auto', '+05:45')('2010-07-02 00:00')), '2010-07-01T18:15:00.000Z');
    assert.equal(iso(reader('auto', '-0330')('2010-07-02 00:00')), '2010-07-02T03:30:00.000Z');
  });

  it('that the clocks of its zone skipped is refused, and one that they showed twice too', () => {
    const inSeattle = reader('auto', 'America/Los_Angeles');
    assert.equal(iso(inSeattle('2010-03-14T01:59:59')), '2010-03-14T09:59:59.000Z');
    assert.throws(
      () => inSeattle('2010-03-14T02:30'),
      /was never shown by the clocks of America\/Los_Angeles/,
    );
    assert.equal(iso(inSeattle('2010-03-14T03:00')), '2010-03-14T10:00:00.000Z');
    assert.throws(
      () => inSeattle('2010-11-07T01:30'),
      /was shown twice by the clocks of America\/Los_Angeles/,
    );
    assert.equal(iso(inSeattle('2010-11-07T02:00')), '2010-11-07T10:00:00.000Z');
  });

  it('that is a day begins when its clocks show midnight for the first time', () => {
    const inHavana = reader('auto', 'America/Havana');
    assert.equal(iso(inHavana('2010-10-31')), '2010-10-31T04:00:00.000Z');
    assert.equal(iso(reader('d/M/yyyy', 'America/Havana')('31/10/2010')), '2010-10-31T04:00:00.000Z');
    assert.throws(() => inHavana('2010-10-31 00:00'), /was shown twice/);
  });

  it('comes back as it was written, whatever the zone, unless it was shown twice', () => {
    const zones = ['UTC', 'America/Los_Angeles', 'Europe/Berlin', 'Australia/Lord_Howe', 'Asia/Kathmandu'];
    const anyTime = fc.integer({ min: Date.UTC(1950), max: Date.UTC(2040) });
    fc.assert(
      fc.property(fc.constantFrom(...zones), anyTime, (zone, time) => {
        const moment = DateTime.fromMillis(time, { zone });
        const clock = moment.toFormat("yyyy-MM-dd'T'HH:mm:ss.SSS");
        if (moment.getPossibleOffsets().length > 1)
          assert.throws(() => reader('auto', zone)(clock), /was shown twice/);
        else assert.equal(reader('auto', zone)(clock), time);
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
