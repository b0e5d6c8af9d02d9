import assert from 'node:assert/strict';
import fc from 'fast-check';
import { IANAZone } from 'luxon';
import { InvalidTimeZone } from '../../../application/ports/calendar.ts';
import { luxonCalendar } from '../../../infrastructure/luxon-calendar.ts';

const minute = 60_000;
const zones = Intl.supportedValuesOf('timeZone');

describe('The calendar of Luxon', () => {
  const calendar = luxonCalendar();

  it('knows the offset of every zone at any time', () => {
    const instant = fc.integer({ min: Date.UTC(1850, 0), max: Date.UTC(2040, 0) });
    fc.assert(
      fc.property(fc.constantFrom(...zones), instant, (name, time) => {
        const { from, to, offset } = calendar.zone(name).spanAt(time);
        assert.ok(from <= time && time < to);
        for (const within of [from, time, to - 1])
          assert.equal(offset, Math.round(new IANAZone(name).offset(within) * minute));
      }),
      { numRuns: 500 },
    );
  });

  it('finds each change of the clocks to the second', () => {
    const changes = [
      ['Europe/Berlin', '2024-03-31T01:00:00Z'],
      ['Europe/Berlin', '1893-03-31T23:06:32Z'],
      ['America/New_York', '1883-11-18T17:00:00Z'],
      ['Pacific/Apia', '2011-12-30T10:00:00Z'],
    ] as const;
    for (const [name, iso] of changes) {
      const change = Date.parse(iso);
      const before = calendar.zone(name).spanAt(change - 1);
      const after = calendar.zone(name).spanAt(change);
      assert.equal(before.to, change);
      assert.equal(after.from, change);
      assert.notEqual(before.offset, after.offset);
    }
  });

  it('leaves no gap where a change falls on the edge of what it looks at together', () => {
    const zone = calendar.zone('Europe/Berlin');
    const end = Date.UTC(1950, 0);
    for (let at = Date.UTC(1880, 0); at < end; ) {
      const { to } = zone.spanAt(at);
      assert.ok(to > at);
      assert.equal(zone.spanAt(to).from, to);
      at = to;
    }
  });

  it('takes names in any case', () => {
    const summer = Date.UTC(2024, 6);
    assert.equal(calendar.zone('EUROPE/berlin').spanAt(summer).offset, 120 * minute);
    assert.equal(calendar.zone('utc').spanAt(summer).offset, 0);
  });

  it('refuses what is no zone of the IANA database', () => {
    for (const name of [
      '',
      'Mars/Olympus',
      'local',
      'system',
      '+05:30',
      '-01:00',
      'UTC+3',
      '__proto__',
      'Europe/',
    ])
      assert.throws(() => calendar.zone(name), InvalidTimeZone);
  });
});
