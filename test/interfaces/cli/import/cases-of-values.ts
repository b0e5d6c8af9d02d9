import type { Case } from './case.ts';

const household = ['--time-columns', 'Date,Time', '--time-format', 'd/M/yyyy HH:mm:ss', '--null', '?'];
const openAq = [
  ...['--device-column', 'location_id', '--metric-column', 'parameter', '--value-column', 'value'],
  ...['--ignore-columns', 'sensors_id,location,lat,lon'],
];

/** What columns and cells mean. */
export const casesOfValues: readonly Case[] = [
  {
    title: '4: date and time in two columns',
    file: 'household-form.csv',
    args: household,
    readings: [
      ['2009-12-16T17:24', { Global_active_power: 4.216, Voltage: 234.84 }],
      ['2009-12-16T17:26', { Global_active_power: 5.374, Voltage: 233.29 }],
    ],
    counts: { empty: 1 },
  },
  {
    title: '4: lines of one time, read by the date alone, contradict each other',
    file: 'household-form.csv',
    args: ['--time-column', 'Date', '--time-format', 'd/M/yyyy', '--null', '?'],
    readings: [['2009-12-16T00:00', { Global_active_power: 4.216, Voltage: 234.84 }]],
    code: 1,
    refused: [[4, /another value of Global_active_power than line 2 has for the same device and time/]],
    leftOut: ['Time'],
    counts: { accepted: 1, conflicts: 1 },
  },
  {
    title: '4: the same with --overwrite, where the last line counts',
    file: 'household-form.csv',
    args: [
      ...['--time-column', 'Date', '--time-format', 'd/M/yyyy', '--null', '?'],
      ...['--overwrite', '--ignore-columns', 'Time'],
    ],
    readings: [
      ['2009-12-16T00:00', { Global_active_power: 4.216, Voltage: 234.84 }],
      ['2009-12-16T00:00', { Global_active_power: 5.374, Voltage: 233.29 }],
    ],
    counts: { overwriting: 1, conflicts: 0 },
  },
  ...['own-export.csv', 'own-export.ndjson'].map((file) => ({
    title: `5: Fieldlog's own export, ${file}`,
    file,
    readings: [
      ['2026-01-01T00:00', { hum: 40, temp: 20.5 }],
      ['2026-01-01T00:01', { hum: 41, temp: 21 }],
    ] as const,
    counts: { accepted: 4, readings: 2 },
  })),
  {
    title: '6: one metric a line',
    file: 'openaq-form.csv',
    args: openAq,
    readings: [
      ['2024-01-01T08:00', { pm10: 18, no2: 51.4 }, '2178'],
      ['2024-01-01T09:00', { pm10: 0.02 }, '2178'],
    ],
    code: 1,
    leftOut: ['units'],
  },
  {
    title: '6: one metric a line, in two units',
    file: 'openaq-form.csv',
    args: [...openAq, '--unit-column', 'units'],
    readings: [['2024-01-01T08:00', { pm10: 18, no2: 51.4 }, '2178']],
    code: 1,
    refused: [[4, /^"ppm" must be "µg\/m³", the unit that pm10 has/]],
  },
  {
    title: '6: one metric a line, read as if its columns were metrics, loses nothing untold',
    file: 'long-form.csv',
    readings: [['2026-01-01T00:00', { value: 12 }, 'st1']],
    code: 1,
    refused: [[3, /another value of value than line 2/]],
    leftOut: ['parameter'],
  },
  {
    title: '7: an hour that clocks showed twice, by the order of the file',
    file: 'dst-back.csv',
    args: ['--tz', 'Europe/Berlin'],
    readings: [
      '2025-10-25T23:30',
      ...['00:00', '00:30', '01:00', '01:30', '02:00'].map((at) => `2025-10-26T${at}`),
    ].map((time, i) => [time, { temperature: i + 1 }] as const),
  },
  {
    title: '8: an hour that clocks skipped',
    file: 'dst-gap.csv',
    args: ['--tz', 'Europe/Berlin'],
    readings: [
      ['2025-03-30T00:30', { temperature: 1 }],
      ['2025-03-30T01:30', { temperature: 3 }],
    ],
    code: 1,
    refused: [[3, /was never shown by the clocks of Europe\/Berlin/]],
  },
  {
    title: '10: a column that holds something late',
    file: 'late-column.csv',
    counts: { accepted: 1005, refused: 0 },
  },
  {
    title: '10: a column that is mostly NaN',
    file: 'mostly-nan.csv',
    readings: [['2026-01-01T00:02', { co2: 417 }]],
    counts: { empty: 2 },
  },
  ...['epoch-s.ndjson', 'epoch-s.csv', 'epoch-us.csv', 'epoch-ns.csv'].map((file) => ({
    title: `11, 29: times that count from 1970, ${file}`,
    file,
    readings: [['2019-05-30T08:49', { temperature: 1 }]] as const,
    notes: [/the times in "ts" are (micro|nano|)seconds since 1970, by their magnitude/],
  })),
  {
    title: '11: seconds in the form of the API',
    file: 'epoch-s-own.ndjson',
    readings: [['2019-05-30T08:49', { temperature: 1 }, 'esk']],
    notes: [/the times in "timestamp" are seconds since 1970/],
  },
  {
    title: '28: 24:00 is the next day',
    file: 'h24.csv',
    readings: [
      ['2026-01-01T23:00', { temperature: 1 }],
      ['2026-01-02T00:00', { temperature: 2 }],
    ],
  },
  {
    title: '31: names that are no ids',
    file: 'ids.csv',
    readings: [],
    code: 1,
    refused: [
      [2, /"plant\/line-1\/s1" must be a device id: .*; --device-slug makes ids of names/],
      [3, /"Küche" must be a device id/],
      [4, /"sensor 7" must be a device id/],
    ],
  },
  {
    title: '31: names made ids',
    file: 'ids.csv',
    args: ['--device-slug', '--device-prefix', 'hall-'],
    readings: [
      ['2026-01-01T00:00', { temperature: 1 }, 'hall-plant_line-1_s1'],
      ['2026-01-01T00:00', { temperature: 2 }, 'hall-Kuche'],
      ['2026-01-01T00:00', { temperature: 2 }, 'hall-sensor_7'],
    ],
  },
  {
    title: '32: names that begin with a digit are those of the API where it has them',
    file: 'obis.csv',
    readings: [['2026-01-01T00:00', { '1-0:1.8.0': 1, '1-0:2.8.0': 2 }]],
  },
  {
    title: 'a file of a home, with a word of its own for nothing',
    file: 'ha.csv',
    args: [
      ...['--device', 'x', '--metric-column', 'entity_id', '--value-column', 'state'],
      ...['--time-column', 'last_changed', '--null', 'Unavailable'],
    ],
    readings: [
      ['2026-01-01T00:00', { 'sensor.kitchen': 21.5 }, 'x'],
      ['2026-01-01T00:10', { 'sensor.kitchen': 21.7 }, 'x'],
    ],
  },
  {
    title: 'a number that no reading can have',
    file: 'magnitude.csv',
    readings: [
      ['2026-01-01T00:00', { v: 1 }],
      ['2026-01-01T00:02', { v: 3 }],
    ],
    code: 1,
    refused: [[3, /"1e301" must be a number of at most 1e\+300 either way/]],
  },
  {
    title: 'forms of time that mean one thing, and those that do not',
    file: 'time-forms.csv',
    readings: (
      [
        ['2026-01-01T00:00', 1],
        ['2026-01-01T00:00:01.123Z', 2],
        ['2026-01-01T00:00:02', 3],
        ['2026-01-01T00:00:03', 4],
        ['2025-12-31T23:00:05', 6],
        ['2026-01-01T00:00:07.123Z', 8],
        ['2026-01-01T00:00:08.500Z', 9],
        ['2026-01-01T00:00:09', 10],
        ['2026-01-01T00:00:10', 11],
        ['2026-01-02T00:00', 17],
      ] as const
    ).map(([time, v]) => [time, { v }]),
    code: 1,
    refused: [
      [6, /"202601010004" may be many things/],
      [8, /"2026-01-01 00:00:06 CET" is no form of time known here/],
      [13, /"1\/1\/2026 0:00" has no certain order/],
      [14, /another value of v than line 2/],
      [15, /is no form of time known here/],
      [16, /is no form of time known here/],
      [17, /"2016-12-31 23:59:60" must be a time that calendar and clock have/],
      [19, /is no form of time known here/],
      [20, /is no form of time known here/],
      [21, /"46023.5" may be many things/],
    ],
  },
  {
    title: 'a fraction of a millisecond, and an object for a time',
    file: 'time-fraction.ndjson',
    readings: [['2019-05-30T08:49', { v: 2 }, 'a']],
    code: 1,
    refused: [
      [1, /1559206140000.5 must be whole milliseconds/],
      [2, /\{"at":1\} must be a time/],
    ],
  },
];
