import assert from 'node:assert/strict';
import {
  isDeviceId,
  isMetricName,
  isMetrics,
  isMetricValue,
  isReading,
  isTimestamp,
} from '../../domain/telemetry.ts';

/** Checks one form by what has it and what has it not. */
function form(is: (value: never) => boolean, fits: readonly unknown[], others: readonly unknown[]): void {
  for (const value of fits) assert.equal(is(value as never), true, `refuses ${String(value)}`);
  for (const value of others) assert.equal(is(value as never), false, `takes ${String(value)}`);
}

describe('A reading', () => {
  it('is of a device whose id is made of letters, digits and . _ : -', () =>
    form(
      isDeviceId,
      ['a', '7', 'Boiler-1.north:2_b', 'a'.repeat(128)],
      ['', '-a', '.a', '_a', ':a', 'a b', 'a/b', 'é', ' a', 'a ', 'a\n', 'a'.repeat(129), 7, null, undefined],
    ));

  it('names metrics as OBIS and paths do', () =>
    form(
      isMetricName,
      ['t', '1-0:1.8.0', '/room/1', '_t', '.t', 'a'.repeat(128)],
      ['', '-t', ':t', '=t', '+t', '@t', 'a b', 'a\n', '\na', '__proto__', 'a'.repeat(129)],
    ));

  it('has numbers within the range of a sum, texts of 512 characters and booleans', () =>
    form(
      isMetricValue,
      [0, -0, 1e300, -1e300, true, false, '', 'x'.repeat(512), '\u{1f321}'],
      [
        1.01e300,
        -1.01e300,
        Number.NaN,
        Infinity,
        -Infinity,
        'x'.repeat(513),
        '\ud83c',
        null,
        undefined,
        {},
        [1],
        1n,
      ],
    ));

  it('is of a whole millisecond that ISO 8601 can show', () =>
    form(
      isTimestamp,
      [0, -1, Date.parse('0001-01-01T00:00:00.000Z'), Date.parse('9999-12-31T23:59:59.999Z')],
      [
        Date.parse('0001-01-01T00:00:00.000Z') - 1,
        Date.parse('9999-12-31T23:59:59.999Z') + 1,
        0.5,
        Number.NaN,
        Infinity,
        '0',
        null,
        undefined,
        1n,
      ],
    ));

  const so = (many: number) => Object.fromEntries(Array.from({ length: many }, (_, i) => [`m${i}`, i]));

  it('has one to 64 metrics in a plain object', () =>
    form(
      isMetrics,
      [{ t: 1 }, so(64), { t: 1, h: 'on' }],
      [{}, so(65), [], [1], 'ab', 5, null, undefined, { t: null }, { 'a b': 1 }, { t: 1, h: Number.NaN }],
    ));

  it('has a device, a time and metrics, and may have more', () =>
    form(
      isReading,
      [
        { deviceId: 'd', timestamp: 1, metrics: { t: 1 } },
        { deviceId: 'd', timestamp: 1, metrics: { t: 1 }, untimed: true },
      ],
      [
        {},
        null,
        undefined,
        'd',
        5,
        { timestamp: 1, metrics: { t: 1 } },
        { deviceId: 'd', metrics: { t: 1 } },
        { deviceId: 'd', timestamp: 1 },
        { deviceId: 'd', timestamp: 1, metrics: {} },
      ],
    ));
});
