import assert from 'node:assert/strict';
import path from 'node:path';
import type { ImportReport } from '../../../../interfaces/import/report.ts';
import { runCli } from '../../../support/cli.ts';
import { recordingSession } from '../../../support/recording-session.ts';
import type { Refused } from './case.ts';
import { casesOfForms } from './cases-of-forms.ts';
import { casesOfValues } from './cases-of-values.ts';

const folder = path.resolve(import.meta.dirname, '../../../fixtures/import');

const refusals: readonly Refused[] = [
  {
    title: '4, 17: date and time in two columns that nobody named',
    file: 'household-form.csv',
    says: /say which column is the time: --time-columns "Date,Time", or --time-column/,
  },
  {
    title: '18: lines before the column names',
    file: 'preamble.csv',
    says: /--skip <lines> leaves out what is before them/,
  },
  { title: '18: comments', file: 'comments.csv', says: /--comment "#" leaves out lines that begin with #/ },
  {
    title: '21: a header that would steer the terminal',
    file: 'escape-in-header.csv',
    says: /there are "timestamp\\u001b\]0;title\\u0007", "temperature"/,
  },
  {
    title: '27: JSON around the records',
    file: 'envelope.json',
    says: /"data" holds records: --records data imports them/,
  },
  {
    title: 'bytes that are not UTF-8',
    file: 'cp1252.csv',
    says: /is not UTF-8 in line 1: name its encoding, such as --encoding windows-1252/,
  },
  {
    title: 'two columns of a name',
    file: 'dupcol.csv',
    args: ['--ignore-columns', 'local_time'],
    says: /two columns are named "temperature": --metric "temperature#2=<name>" imports the second/,
  },
  { title: 'blank lines alone', file: 'blank.csv', says: /there is nothing in it/ },
];

/** Files that name their devices; the others are of one, called x. */
const withDevices =
  /^(long-form|openaq-form|influx-annotated|ids|ha)\.csv$|^(epoch-s-own|null-metric|nested|time-fraction)\.ndjson$|\.json$/;

async function imports(file: string, args: readonly string[] = []) {
  const { recorded, runtime } = recordingSession();
  const device = withDevices.test(file) ? [] : ['--device', 'x'];
  const ran = await runCli(['import', path.join(folder, file), ...device, ...args, '--json'], { runtime });
  return { ...ran, recorded };
}

describe('fieldlog import of a real file', () => {
  for (const { title, file, args, readings, code, refused = [], leftOut = [], notes, counts } of [
    ...casesOfForms,
    ...casesOfValues,
  ])
    it(`${title}: ${file}`, async () => {
      const { recorded, ...ran } = await imports(file, args);
      assert.equal(ran.err, '');
      const report = JSON.parse(ran.out) as ImportReport;
      assert.deepEqual(
        report.refusals.map(({ line }) => line),
        refused.map(([line]) => line),
      );
      for (const [i, [, reason]] of refused.entries()) assert.match(report.refusals[i]?.reason ?? '', reason);
      assert.deepEqual(report.files[0]?.leftOut, leftOut);
      for (const [i, note] of (notes ?? []).entries()) assert.match(report.files[0]?.notes[i] ?? '', note);
      for (const [name, count] of Object.entries(counts ?? {}))
        assert.equal(report[name as keyof ImportReport], count, name);
      assert.equal(ran.code, code ?? 0);
      if (readings === undefined) return;
      assert.deepEqual(
        recorded.batches
          .flat()
          .map(({ deviceId, timestamp, metrics }) => [
            new Date(timestamp).toISOString().replace(/(:00)?\.000Z$/, ''),
            metrics,
            deviceId,
          ]),
        readings.map(([time, metrics, deviceId = 'x']) => [time, metrics, deviceId]),
      );
    });

  for (const { title, file, args, says } of refusals)
    it(`says what to do about ${title}: ${file}`, async () => {
      const { code, out, err } = await imports(file, args);
      assert.deepEqual({ code, out }, { code: 2, out: '' });
      const { error, exitCode } = JSON.parse(err);
      assert.match(error, says);
      assert.match(error, /^\P{Cc}+$/u);
      assert.equal(exitCode, code);
    });
});
