import { type Case, minutes } from './case.ts';

/** How files are written. */
export const casesOfForms: readonly Case[] = [
  {
    title: '9: line ends of Windows in the header alone',
    file: 'crlf-header-lf-rows.csv',
    readings: minutes(1, 2, 3),
  },
  {
    title: '9: line ends of Windows but in the header',
    file: 'lf-header-crlf-rows.csv',
    readings: minutes(1, 2),
  },
  { title: '9: line ends of two systems', file: 'crlf-then-lf.csv', readings: minutes(1, 2, 3, 4, 5) },
  {
    title: '9: line ends of two systems after text',
    file: 'crlf-then-lf-text.csv',
    args: ['--text', 'note'],
    readings: minutes(1, 2, 3).map(([time, metrics]) => [time, { ...metrics, note: 'ok' }]),
  },
  {
    title: '14: integers that a double cannot hold',
    file: 'bigint.csv',
    readings: [],
    code: 1,
    refused: [
      [2, /"9007199254740993" must be an integer that a double holds exactly/],
      [3, /"9007199254740995" must be an integer that a double holds exactly/],
    ],
  },
  {
    title: '14: integers that a double cannot hold, as text',
    file: 'bigint.csv',
    args: ['--text', 'energy_wh'],
    readings: [
      ['2026-01-01T00:00', { energy_wh: '9007199254740993' }],
      ['2026-01-01T00:01', { energy_wh: '9007199254740995' }],
    ],
  },
  {
    title: '15, 16, 25: trailing delimiters, decimal commas and a sentinel',
    file: 'airquality-form.csv',
    args: [
      ...['--time-columns', 'Date,Time', '--time-format', 'd/M/yyyy HH.mm.ss', '--null', '-200'],
      ...['--metric', 'CO(GT)=co', '--metric', 'T', '--metric', 'RH'],
    ],
    readings: [
      ['2004-03-10T18:00', { co: 2.6, T: 13.6, RH: 48.9 }],
      ['2004-03-10T19:00', { T: 13.3 }],
      ['2004-03-10T20:00', { co: 2.2, T: 11.9, RH: 54 }],
    ],
    notes: [/separated by ";"/, /decimal comma/],
  },
  {
    title: '15: trailing delimiters behind the lines',
    file: 'trailing-comma.csv',
    readings: [
      ['2026-01-01T00:00', { temperature: 1, humidity: 40 }],
      ['2026-01-01T00:01', { temperature: 2, humidity: 41 }],
    ],
  },
  {
    title: '16: a decimal comma that is named',
    file: 'rej.csv',
    args: ['--decimal', ','],
    readings: [
      ['2026-01-01T00:00', { temp: 1 }],
      ['2026-01-01T00:01', { temp: 2.5 }],
    ],
  },
  {
    title: '16: a decimal comma where commas separate columns',
    file: 'rej.csv',
    readings: [['2026-01-01T00:00', { temp: 1 }]],
    code: 1,
    refused: [[3, /"2,5" must be a number, true or false; --decimal "," reads such numbers/]],
  },
  {
    title: '18: lines before the column names',
    file: 'preamble.csv',
    args: [
      ...['--skip', '1', '--time-column', 'Date Time, GMT+01:00', '--tz', '+01:00'],
      ...['--ignore-columns', '#'],
    ],
    readings: [
      ['2025-12-31T23:00', { Temp_C: 4.5 }],
      ['2025-12-31T23:10', { Temp_C: 4.6 }],
    ],
  },
  {
    title: '18: comments',
    file: 'comments.csv',
    args: ['--comment', '#'],
    readings: minutes(1),
  },
  {
    title: '18: a line that names the delimiter',
    file: 'sep.csv',
    readings: minutes(1.5),
  },
  {
    title: '18: TOA5 of a logger',
    file: 'toa5.dat',
    args: ['--ignore-columns', 'RECORD'],
    readings: [
      ['2026-01-01T00:00', { AirTC_Avg: 4.5 }],
      ['2026-01-01T01:00', { AirTC_Avg: 4.6, RH: 81.2 }],
    ],
    notes: [/^TOA5/],
  },
  {
    title: '18: annotated CSV of InfluxDB, table after table',
    file: 'influx-annotated.csv',
    args: ['--device-column', 'host'],
    readings: [
      ['2026-01-01T00:00', { temperature: 20.5 }, 'kitchen'],
      ['2026-01-01T00:01', { temperature: 21 }, 'kitchen'],
      ['2026-01-01T00:00', { on: true }, 'kitchen'],
    ],
    notes: [/annotated CSV of InfluxDB/],
  },
  {
    title: '18: a row of units',
    file: 'units.csv',
    args: ['--skip-rows', '1'],
    readings: [
      ['2026-01-01T00:00', { temperature: 1, humidity: 40 }],
      ['2026-01-01T00:01', { temperature: 2, humidity: 41 }],
    ],
  },
  {
    title: '18: a row of units that nobody named is refused alone',
    file: 'units.csv',
    code: 1,
    refused: [[2, /"" must be a time/]],
    counts: { accepted: 2, refused: 1 },
  },
  {
    title: '19: a compressed file',
    file: 'compressed.csv.gz',
    readings: minutes(1),
    notes: [/compressed by gzip/],
  },
  { title: '20: UTF-16', file: 'utf16.csv', readings: minutes(1), notes: [/encoded in utf-16le/] },
  { title: '22: a byte order mark', file: 'bom.csv', readings: minutes(1) },
  {
    title: '24: null stands for a metric that is absent',
    file: 'null-metric.ndjson',
    readings: [['2019-05-30T08:49', { temperature: 1 }, 'esk']],
  },
  {
    title: '25: NaN is nothing, and inf is no number',
    file: 'nan.csv',
    readings: [
      ['2026-01-01T00:00', { temperature: 1, humidity: 40 }],
      ['2026-01-01T00:01', { humidity: 41 }],
    ],
    code: 1,
    refused: [[4, /"inf" must be a number/]],
  },
  {
    title: '25: the usual words for nothing, in any case',
    file: 'nulls.csv',
    readings: [
      ['2026-01-01T00:06', { a: 5 }],
      ['2026-01-01T00:07', { a: 6 }],
    ],
    counts: { empty: 6 },
  },
  {
    title: '25: a sentinel however it is written',
    file: 'sentinel.csv',
    args: ['--null', '-200'],
    readings: [['2026-01-01T00:02', { a: 5 }]],
    counts: { empty: 2 },
  },
  {
    title: '26: nested JSON',
    file: 'nested.ndjson',
    readings: [['2026-01-01T00:00', { bat: 3.6 }, 'nest']],
    code: 1,
    leftOut: ['bme'],
  },
  {
    title: '26: nested JSON, flattened',
    file: 'nested.ndjson',
    args: ['--flatten'],
    readings: [['2026-01-01T00:00', { bat: 3.6, 'bme.t': 20.5, 'bme.h': 40 }, 'nest']],
  },
  {
    title: '27: JSON that follows on one line',
    file: 'firehose.json',
    readings: [
      ['2026-01-01T00:00', { v: 1 }, 'fh'],
      ['2026-01-01T00:01', { v: 2 }, 'fh'],
    ],
  },
  {
    title: '27: JSON over several lines',
    file: 'pretty.json',
    readings: [['2026-01-01T00:00', { v: 1 }, 'fh']],
  },
  {
    title: '27: JSON around the records',
    file: 'envelope.json',
    args: ['--records', 'data'],
    readings: [['2026-01-01T00:00', { v: 1 }, 'fh']],
  },
  {
    title: 'an encoding that is named',
    file: 'cp1252.csv',
    args: ['--encoding', 'windows-1252'],
    readings: [['2026-01-01T00:00', { temp_C: 1 }]],
  },
  {
    title: 'names with signs',
    file: 'degrees.csv',
    readings: [['2026-01-01T00:00', { temp_C: 1, temp_F: 2 }]],
  },
  {
    title: 'the second column of a name, by another name',
    file: 'dupcol.csv',
    args: ['--metric', 'temperature', '--metric', 'temperature#2=other'],
    readings: [['2026-01-01T00:00', { temperature: 1, other: 2 }]],
  },
  {
    title: 'a line that is too short',
    file: 'short.csv',
    readings: [['2026-01-01T00:00', { temperature: 1, humidity: 40 }]],
    code: 1,
    refused: [[3, /has 2 cells for 3 columns/]],
  },
];
