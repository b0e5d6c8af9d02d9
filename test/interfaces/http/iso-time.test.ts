import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readingLimits } from '../../../domain/telemetry.ts';
import { luxonCalendar } from '../../../infrastructure/luxon-calendar.ts';
import { isoTimes, parseIsoTime, zonedIsoTimes } from '../../../interfaces/http/iso-time.ts';

const anyTime = fc.integer({ min: readingLimits.earliest, max: readingLimits.latest });

describe('ISO 8601 times', () => {
  it('reads what toISOString writes, in every year there is', () => {
    fc.assert(fc.property(anyTime, (time) => parseIsoTime(new Date(time).toISOString()) === time));
  });

  it('reads a time with any offset as the instant it names', () => {
    const offset = fc.tuple(
      fc.constantFrom('+', '-'),
      fc.integer({ max: 23, min: 0 }),
      fc.integer({ max: 59, min: 0 }),
    );
    const time = fc.integer({
      min: readingLimits.earliest + 86_400_000,
      max: readingLimits.latest - 86_400_000,
    });
    fc.assert(
      fc.property(time, offset, (time, [sign, hours, minutes]) => {
        const local = new Date(time + (hours * 60 + minutes) * (sign === '-' ? -60_000 : 60_000));
        const two = (n: number) => String(n).padStart(2, '0');
        const text = `${local.toISOString().slice(0, -1)}${sign}${two(hours)}:${two(minutes)}`;
        assert.equal(parseIsoTime(text), time, text);
      }),
    );
  });

  it('takes a time without seconds, and drops what is finer than a millisecond', () => {
    const noon = Date.UTC(2026, 2, 29, 12, 0);
    for (const [text, time] of [
      ['2026-03-29T12:00Z', noon],
      ['2026-03-29T14:00+02:00', noon],
      ['2026-03-29T12:00:01Z', noon + 1000],
      ['2026-03-29T12:00:01.5Z', noon + 1500],
      ['2026-03-29T12:00:01.123999999Z', noon + 1123],
      ['2024-02-29T00:00Z', Date.UTC(2024, 1, 29)],
      ['0001-01-01T00:00Z', readingLimits.earliest],
      ['9999-12-31T23:59:59.999Z', readingLimits.latest],
    ] as const)
      assert.equal(parseIsoTime(text), time, text);
  });

  it('refuses days and hours that do not exist, and any other form', () => {
    for (const text of [
      ...[
        '2026-02-30T00:00Z',
        '2025-02-29T00:00Z',
        '2026-13-01T00:00Z',
        '2026-00-01T00:00Z',
        '2026-04-31T00:00Z',
      ],
      ...['2026-01-01T24:00Z', '2026-01-01T00:60Z', '2026-01-01T00:00:60Z', '2026-01-01T00:00:00+24:00'],
      ...['2026-01-01', '2026-01-01T00:00', '2026-01-01T00:00:00', '2026-01-01 00:00Z', '2026-01-01T00Z'],
      ...['2026-01-01T00:00:00.Z', '2026-01-01T00:00:00.1234567890Z', '2026-01-01T00:00:00,5Z'],
      ...[
        '2026-01-01T00:00:00z',
        '2026-01-01T00:00:00+0100',
        '2026-01-01T00:00:00+01',
        '2026-01-01T00:00:00Z ',
      ],
      ...[
        '+002026-01-01T00:00Z',
        '0000-01-01T00:00Z',
        '10000-01-01T00:00Z',
        '20260101T000000Z',
        ' ',
        '',
        'now',
      ],
      ...['0001-01-01T00:00:00+00:01', '9999-12-31T23:59:00-00:01', '２026-01-01T00:00Z'],
    ])
      assert.equal(parseIsoTime(text), undefined, text);
  });

  it('takes nothing that the calendar would have to mend', () => {
    const part = fc.constantFrom(
      ...'0123456789',
      '29',
      '30',
      '31',
      '-',
      ':',
      'T',
      'Z',
      '+',
      '.',
      ' ',
      '2026',
      '02',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 24 }), (parts) => {
        const text = parts.join('');
        const time = parseIsoTime(text);
        if (time !== undefined) assert.equal(time, Date.parse(text), text);
      }),
    );
  });

  it('writes like toISOString, whatever was written before', () => {
    const iso = isoTimes();
    fc.assert(fc.property(anyTime, (time) => iso(time) === new Date(time).toISOString()));
  });

  it('writes zoned times that name the same instant and show the clocks of the zone', () => {
    const iso = zonedIsoTimes(luxonCalendar().zone('Europe/Berlin'));
    assert.equal(iso(Date.UTC(2026, 2, 29, 0, 59, 59)), '2026-03-29T01:59:59+01:00');
    assert.equal(iso(Date.UTC(2026, 2, 29, 1, 0, 0)), '2026-03-29T03:00:00+02:00');
    assert.equal(zonedIsoTimes(luxonCalendar().zone('UTC'))(0), '1970-01-01T00:00:00Z');
    for (const name of ['Europe/Berlin', 'America/St_Johns', 'Asia/Kathmandu', 'Europe/Amsterdam']) {
      const inZone = zonedIsoTimes(luxonCalendar().zone(name));
      const seconds = fc.integer({ min: Date.UTC(1880, 0) / 1000, max: Date.UTC(2100, 0) / 1000 });
      fc.assert(
        fc.property(seconds, (second) => {
          const text = inZone(second * 1000);
          assert.equal(parseIsoTime(text), second * 1000, `${name} ${text}`);
        }),
      );
    }
  });
});
