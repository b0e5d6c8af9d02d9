import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { TelemetryLogUnavailable } from '../../../../application/ports/telemetry-log.ts';
import type { MetricValue, Reading } from '../../../../domain/telemetry.ts';
import { Interrupted } from '../../../../interfaces/cli/exit-codes.ts';
import { runCli } from '../../../support/cli.ts';
import { type Recorded, recordingSession } from '../../../support/recording-session.ts';

const day = (text: string) => Date.parse(`2026-01-${text}T00:00:00Z`);

describe('fieldlog import', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-import-'));
  });
  after(() => rm(folder, { recursive: true }));

  async function imports(
    text: string,
    args: readonly string[] = [],
    { name = 'history.csv', ...context }: { name?: string } & Parameters<typeof runCli>[1] = {},
  ) {
    const { recorded, runtime } = recordingSession();
    const file = path.join(folder, name);
    await writeFile(file, text);
    const ran = await runCli(['import', file, '--json', ...args], { runtime, ...context });
    const report = ran.out === '' ? undefined : JSON.parse(ran.out);
    return { ...ran, report, recorded, readings: recorded.batches.flat(), file };
  }

  const refusalsOf = ({
    report,
  }: {
    report: { refusals: { line: number; column?: string; reason: string }[] };
  }) => report.refusals.map(({ line, column, reason }) => [line, column, reason]);

  describe('of CSV', () => {
    it('takes every column that holds numbers, registers the device, and ends in the read models', async () => {
      const { code, readings, recorded, report } = await imports(
        'date,temp max,open,note\n2026-01-01,1.5,true,fine\n2026-01-02,-2e1,FALSE,\n2026-01-03,,,x\n',
        ['--device', 'mill', '--name', 'The mill', '--type', 'mill', '--ignore-columns', 'note'],
      );
      assert.equal(code, 0);
      assert.deepEqual(readings, [
        { deviceId: 'mill', timestamp: day('01'), metrics: { temp_max: 1.5, open: true } },
        { deviceId: 'mill', timestamp: day('02'), metrics: { temp_max: -20, open: false } },
      ]);
      assert.deepEqual(recorded.registered, [
        { type: 'RegisterDevice', deviceId: 'mill', details: { name: 'The mill', type: 'mill', labels: {} } },
      ]);
      assert.deepEqual(recorded.log, ['sent 2', 'caught up', 'closed']);
      const { lines, accepted, refused, empty, registered, complete, files } = report;
      assert.deepEqual(
        { lines, accepted, refused, empty, registered, complete },
        {
          ...{ lines: 3, accepted: 2, refused: 0, empty: 1, registered: 1, complete: true },
        },
      );
      assert.deepEqual(files[0].leftOut, []);
      assert.deepEqual(
        files[0].columns.map(({ column, is, cells }: Record<string, unknown>) => [column, is, cells]),
        [
          ['date', 'time', 3],
          ['temp max', 'metric', 2],
          ['open', 'metric', 2],
          ['note', 'ignored', 2],
        ],
      );
    });

    it('takes the columns that are named, under the names they are given, and text as it is', async () => {
      const { readings } = await imports(
        'station;when;°C;state;other\na-1;03.01.2026 07:00;20,5;n/a;1\na-1;04.01.2026 07:00;-;on;2\n',
        [
          ...[
            '--delimiter',
            ';',
            '--device-column',
            'station',
            '--time-column',
            'when',
            '--null',
            '-',
            '--null',
            'n/a',
          ],
          ...[
            '--time-format',
            'dd.MM.yyyy HH:mm',
            '--tz',
            'Europe/Berlin',
            '--text',
            'state',
            '--metric',
            'other=n',
          ],
        ],
      );
      assert.deepEqual(readings, [
        { deviceId: 'a-1', timestamp: Date.parse('2026-01-03T06:00:00Z'), metrics: { n: 1 } },
        { deviceId: 'a-1', timestamp: Date.parse('2026-01-04T06:00:00Z'), metrics: { n: 2, state: 'on' } },
      ]);
    });

    it('continues after every line that it refuses, and reports each with line, column and reason', async () => {
      const rejects = path.join(folder, 'rejects.ndjson');
      const text = [
        'device,time,temp,level',
        'a,2026-01-01,1,1',
        'a,2026-01-02,warm,1',
        'a b,2026-01-03,1,1',
        'a,someday,1,1',
        'a,2026-01-05,1e999,1',
        'a,2026-01-06,1',
        'off-1,2026-01-07,1,1',
        ',2026-01-08,1,1',
        'a,2026-01-09,0x10,1',
        'a,2026-01-10,"1,5",1',
        'b,2026-01-11,3,',
      ].join('\n');
      const result = await imports(text, ['--rejects', rejects, '--batch', '2']);
      assert.equal(result.code, 1);
      assert.deepEqual(
        result.readings.map(({ deviceId, timestamp }) => [deviceId, timestamp]),
        [
          ['a', day('01')],
          ['b', day('11')],
        ],
      );
      const refusals = [
        [3, 'temp', '"warm" must be a number, true or false'],
        [4, 'device', /^"a b" must be a device id/],
        [5, 'time', /^"someday" is no form of time known here/],
        [6, 'temp', '"1e999" must be a number of at most 1e+300 either way'],
        [7, undefined, 'has 3 cells for 4 columns'],
        [8, undefined, 'Device off-1 is suspended'],
        [9, 'device', /^"" must be a device id/],
        [10, 'temp', '"0x10" must be a number, true or false'],
        [11, 'temp', '"1,5" must be a number, true or false; --decimal "," reads such numbers'],
      ] as const;
      const found = refusalsOf(result).toSorted(([a], [b]) => Number(a) - Number(b));
      for (const [i, [line, column, reason]] of refusals.entries()) {
        assert.deepEqual(found[i]?.slice(0, 2), [line, column]);
        if (typeof reason === 'string') assert.equal(found[i]?.[2], reason);
        else assert.match(String(found[i]?.[2]), reason);
      }
      assert.equal(found.length, refusals.length);
      const { lines, accepted, refused } = result.report;
      assert.deepEqual({ lines, accepted, refused }, { lines: 11, accepted: 2, refused: 9 });

      const [first, ...written] = (await readFile(rejects, 'utf8'))
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.deepEqual(first.plan.time.columns, ['time']);
      assert.equal(written.length, 9);
      assert.deepEqual(written.find(({ line }) => line === 3).record, {
        ...{ device: 'a', time: '2026-01-02', temp: 'warm', level: '1' },
      });
    });

    it('imports refused lines again, as they were read before, once they are corrected', async () => {
      const rejects = path.join(folder, 'corrected.ndjson');
      const options = [
        '--rejects',
        rejects,
        '--time-format',
        'dd.MM.yyyy',
        '--tz',
        'Europe/Berlin',
        '--metric',
        'temp',
      ];
      const first = await imports(
        'device;time;temp\na;01.02.2026;1,5\na;02.02.2026;warm\na;03.02.2026;cold\n',
        [...['--decimal', ',', '--delimiter', ';'], ...options],
      );
      assert.equal(first.readings.length, 1);
      const corrected = (await readFile(rejects, 'utf8')).replace('"warm"', '"2,5"');
      const { code, readings, report } = await imports(corrected, ['--from-rejects']);
      assert.equal(code, 1);
      assert.deepEqual(readings, [
        { deviceId: 'a', timestamp: Date.parse('2026-02-01T23:00:00Z'), metrics: { temp: 2.5 } },
      ]);
      assert.deepEqual([report.lines, report.accepted, report.refused], [2, 1, 1]);
    });

    it('tells the first refused lines and how many more there are', async () => {
      const lines = Array.from(
        { length: 30 },
        (_, i) => `2026-01-${String(i + 1).padStart(2, '0')},${i < 5 ? i : 'x'}`,
      );
      const { recorded, runtime } = recordingSession();
      const file = path.join(folder, 'many.csv');
      await writeFile(file, `time,temp\n${lines.join('\n')}`);
      const { code, out } = await runCli(
        ['import', file, '--device', 'a', '--metric', 'temp', '--show', '3'],
        { runtime },
      );
      assert.equal(code, 1);
      assert.equal(recorded.batches.flat().length, 5);
      assert.match(out, /^Imported 5 readings of 1 device \(1 newly registered\)/);
      assert.match(
        out,
        /Refused 25 of 30 lines:\n( {2}\S+many.csv:\d+ {2}temp: "x" must be .*\n){3} {2}and 22 more/,
      );
    });

    it('registers each device once, or refuses those that are not registered', async () => {
      const text = 'device,time,v\na,2026-01-01,1\nb,2026-01-01,1\na,2026-01-02,1\n';
      const { recorded, report } = await imports(text, ['--batch', '1']);
      assert.deepEqual(
        recorded.registered.map(({ deviceId, details }) => [deviceId, details.name, details.type]),
        [
          ['a', 'a', 'imported'],
          ['b', 'b', 'imported'],
        ],
      );
      assert.deepEqual([report.devices, report.registered], [2, 2]);
      const unregistered = await imports(text, ['--no-register']);
      assert.equal(unregistered.code, 1);
      assert.deepEqual(unregistered.recorded.registered, []);
      assert.equal(unregistered.report.refused, 3);
      assert.equal(refusalsOf(unregistered)[0]?.[2], 'Device a is not registered');
    });

    it('reads tabs, a byte order mark, and Windows line ends', async () => {
      const { readings } = await imports('\ufeffdevice\ttime\tv\r\na\t2026-01-01\t1\r\n', [], {
        name: 'some.tsv',
      });
      assert.deepEqual(readings, [{ deviceId: 'a', timestamp: day('01'), metrics: { v: 1 } }]);
    });

    it('refuses a reading with more metrics than there can be', async () => {
      const columns = Array.from({ length: 65 }, (_, i) => `m${i}`);
      const result = await imports(`device,time,${columns}\na,2026-01-01,${columns.map(() => 1)}\n`);
      assert.deepEqual(refusalsOf(result), [[2, undefined, 'has 65 metrics, and a reading has at most 64']]);
    });
  });

  describe('of JSON', () => {
    it('takes readings in the form of the API without any option', async () => {
      const lines = [
        { deviceId: 'a', timestamp: '2026-01-01T00:00:00Z', metrics: { temp: 1, on: true, state: 'ok' } },
        { deviceId: 'b', timestamp: day('02'), metrics: { temp: 2 } },
        { deviceId: 'a', metrics: { temp: 2 } },
        { deviceId: 'a', timestamp: day('03'), metrics: { '-1st': 2 } },
        { deviceId: 'a', timestamp: day('03'), metrics: {} },
        { deviceId: 'a', timestamp: day('03'), metrics: { temp: 2 }, unit: 'C' },
        { deviceId: 'a', timestamp: day('03') },
      ];
      for (const text of [
        lines.map((line) => JSON.stringify(line)).join('\n'),
        JSON.stringify(lines, null, 2),
      ]) {
        const result = await imports(text, [], { name: 'history.json' });
        assert.deepEqual(result.readings, [{ ...lines[0], timestamp: day('01') }, lines[1]]);
        assert.deepEqual(
          refusalsOf(result).map(([, column]) => column),
          ['timestamp', 'metrics/-1st', 'metrics', 'unit', 'metrics'],
        );
      }
    });

    it('takes columns from objects, and nothing from null', async () => {
      const { code, readings, report } = await imports(
        '{"id":"a","ts":"2026-01-01","t":1.5,"note":"x","nested":{"a":1}}\n{"id":"a","ts":"2026-01-02","t":null,"late":"7"}',
        ['--device-column', 'id'],
      );
      assert.equal(code, 1);
      assert.deepEqual(readings, [
        { deviceId: 'a', timestamp: day('01'), metrics: { t: 1.5 } },
        { deviceId: 'a', timestamp: day('02'), metrics: { late: 7 } },
      ]);
      assert.deepEqual(report.files[0].leftOut.toSorted(), ['nested', 'note']);
    });
  });

  it('gives the same readings whichever form the same records have', async () => {
    const value = fc.oneof(
      fc.double({ noNaN: true, min: -1e300, max: 1e300 }),
      fc.boolean(),
      fc.constant(null),
    );
    const record = fc.record({
      device: fc.constantFrom('a', 'b.1', 'c:2'),
      time: fc
        .integer({ min: Date.UTC(1900), max: Date.UTC(2100) })
        .map((time) => new Date(time).toISOString()),
      first: value,
      second: value,
    });
    const records = fc.uniqueArray(record, {
      minLength: 1,
      maxLength: 20,
      selector: ({ device, time }) => `${device} ${time}`,
    });
    await fc.assert(
      fc.asyncProperty(records, fc.integer({ min: 1, max: 7 }), async (rows, batch) => {
        const forms = {
          csv: [
            'device,time,first,second',
            ...rows.map((row) =>
              Object.values(row)
                .map((v) => v ?? '')
                .join(','),
            ),
          ].join('\n'),
          ndjson: rows.map((row) => JSON.stringify(row)).join('\n'),
          json: JSON.stringify(rows),
        };
        const expected = rows.flatMap(({ device, time, ...metrics }): Reading[] => {
          const present = Object.entries(metrics).flatMap(([name, value]): [string, MetricValue][] =>
            value === null ? [] : [[name, value]],
          );
          if (present.length === 0) return [];
          return [{ deviceId: device, timestamp: Date.parse(time), metrics: Object.fromEntries(present) }];
        });
        for (const text of Object.values(forms)) {
          const { code, recorded } = await imports(text, ['--batch', String(batch)]);
          assert.equal(code, 0);
          assert.deepEqual(withoutNegativeZero(recorded), withoutNegativeZero({ batches: [expected] }));
          assert.ok(recorded.batches.every(({ length }) => length <= batch));
        }
      }),
      { numRuns: 25 },
    );
  });

  it('that is stopped says how far it came', async () => {
    const stop = new AbortController();
    const { recorded, session } = recordingSession();
    const { ingest, commands } = session;
    const stopping = recordingSession({
      async ingest(readings, context) {
        stop.abort(new Interrupted('SIGINT'));
        return ingest(readings, context);
      },
      commands,
    });
    const file = path.join(folder, 'long.csv');
    const lines = Array.from(
      { length: 5000 },
      (_, i) => `${new Date(day('01') + i * 1000).toISOString()},${i}`,
    );
    await writeFile(file, `time,v\n${lines.join('\n')}`);
    const { code, out, err } = await runCli(['import', file, '--device', 'a', '--batch', '100'], {
      runtime: stopping.runtime,
      signal: stop.signal,
    });
    const sent = recorded.batches.flat().length;
    assert.equal(code, 130);
    assert.ok(sent >= 100 && sent < 5000);
    assert.match(out, new RegExp(`^Stopped after ${sent} readings of 1 device`));
    assert.equal(err, 'fieldlog: stopped by SIGINT\n');
    assert.deepEqual(stopping.recorded.log, ['closed']);
  });

  it('that meets a log it cannot write to says what is there already', async () => {
    let calls = 0;
    const { recorded, session } = recordingSession();
    const { ingest, commands } = session;
    const failing = recordingSession({
      commands,
      async ingest(readings, context) {
        calls += 1;
        if (calls === 3) throw new TelemetryLogUnavailable('The disk is full');
        return ingest(readings, context);
      },
    });
    const file = path.join(folder, 'failing.csv');
    await writeFile(file, `time,v\n${Array.from({ length: 9 }, (_, i) => `2026-01-0${i + 1},1`).join('\n')}`);
    const { code, out, err } = await runCli(['import', file, '--device', 'a', '--batch', '2'], {
      runtime: failing.runtime,
    });
    assert.equal(code, 3);
    assert.match(out, /^Stopped after 4 readings of 1 device/);
    assert.equal(err, 'fieldlog: The disk is full\n');
    assert.equal(recorded.batches.flat().length, 4);
  });
});

/** No text form tells `-0` from `0`. */
const withoutNegativeZero = ({ batches }: Pick<Recorded, 'batches'>): unknown =>
  batches
    .flat()
    .map(({ metrics, ...rest }) => [
      rest,
      Object.entries(metrics).map(([name, value]) => [name, typeof value === 'number' ? value + 0 : value]),
    ]);
