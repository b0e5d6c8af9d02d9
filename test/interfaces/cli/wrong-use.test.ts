import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli } from '../../support/cli.ts';

const measured = 'time,temp\n2026-01-01,1\n';

describe('Wrong use of the command line', () => {
  let folder: string;
  let file: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-usage-'));
    file = path.join(folder, 'some.csv');
    await writeFile(file, measured);
    await symlink(file, path.join(folder, 'link.csv'));
    await writeFile(path.join(folder, 'text.csv'), 'time,state\n2026-01-01,on fire\n');
    await writeFile(path.join(folder, 'twice.csv'), 'time,a,a\n2026-01-01,1,2\n');
    await writeFile(path.join(folder, 'alike.csv'), 'time,a b,a_b\n2026-01-01,1,2\n');
    await writeFile(path.join(folder, 'empty.csv'), '');
  });
  after(() => rm(folder, { recursive: true }));

  const wrong: readonly (readonly [args: string, message: RegExp])[] = [
    ['bogus', /unknown command 'bogus'/],
    ['bogus --help', /unknown command 'bogus'/],
    ['import', /missing required argument 'file'/],
    ['import F --bogus', /unknown option '--bogus'/],
    [
      'import F',
      /say which column is the device: --device <id> or --device-column <name>; there are "time", "temp"/,
    ],
    ['import F --device a/b', /--device must be letters, digits/],
    ['import F --device a --device-column temp', /all lines are of one device/],
    ['import F --name x --device-column temp', /--name is for one device/],
    ['import F --device a --type ', /--type must not be empty/],
    ['import F --device a --time-column when', /there is no column "when"/],
    ['import F --device a --time-column temp --metric nope', /there is no column "nope"/],
    ['import F --device a --metric temp=-1', /"temp=-1" must be a column, or column=metric/],
    [
      'import F --device a --time-format HH:mm',
      /--time-format must be auto, iso, epoch-s, epoch-ms, epoch-us, epoch-ns or a form with the year/,
    ],
    ['import F --device a --tz Mars/Olympus', /--tz must be a time zone such as/],
    ['import F --device a --batch 5001', /--batch .* must be a whole number from 1 to 5000/],
    ['import F --device a --format xml', /Allowed choices are auto, csv, ndjson, json/],
    ['import F --device a --delimiter ;;', /--delimiter must be one character/],
    ['import F --device a --rejects /nowhere/at/all', /\/nowhere\/at\/all cannot be written: ENOENT/],
    ['import F --device a --rejects F', /some\.csv is a file that is imported: name another/],
    ['import F --device a --rejects F --force', /some\.csv is a file that is imported: name another/],
    [
      'import F --device a --rejects D/link.csv --force',
      /link\.csv is a file that is imported: name another/,
    ],
    ['import F --device a --rejects D/text.csv', /text\.csv is there already: --force overwrites it/],
    ['import D/nothing.csv --device a', /there is no file .*nothing.csv/],
    ['import D --device a', /is a folder/],
    ['import D/empty.csv --device a', /empty.csv: there is nothing in it/],
    ['import D/text.csv --device a', /no column holds numbers: name one with --metric or --text/],
    ['import D/twice.csv --device a', /two columns are named "a"/],
    ['import D/alike.csv --device a', /"a b" and "a_b" both give the metric a_b/],
    ['simulate --duplicates 2', /must be a fraction from 0 to 1/],
    ['simulate --url http://192.0.2.1', /is not on this machine: --remote allows it/],
    ['simulate --rate 100000 --seconds 3600', /--rate times --seconds must be at most 10000000/],
    ['simulate --start yesterday', /must be ISO 8601/],
    ['devices list --url localhost:8080', /must be a URL such as http:\/\/127.0.0.1:8080/],
    ['devices register a --type b', /required option '--name <name>' not specified/],
    ['devices set a', /nothing to set: give --name/],
    ['devices list --label site', /must be key=value/],
  ];

  for (const [args, message] of wrong)
    it(`fieldlog ${args} ends with 2, one line and nothing done`, async () => {
      const data = path.join(folder, 'data');
      const given = args.split(' ').map((arg) => arg.replace(/^F$/, file).replace(/^D(?=$|\/)/, folder));
      const { code, out, err } = await runCli(given, { env: { DATA_DIR: data } });
      assert.equal(code, 2);
      assert.equal(out, '');
      assert.match(err, message);
      assert.match(err, /^fieldlog: [^\n]+\n$/);
      assert.ok(!existsSync(data));
      assert.equal(await readFile(file, 'utf8'), measured);
    });

  it('a group of commands without a command shows its help and ends with 2', async () => {
    for (const args of [[], ['devices']]) {
      const { code, out, err } = await runCli(args);
      assert.deepEqual({ code, out }, { code: 2, out: '' });
      assert.match(err, /Usage: fieldlog/);
    }
  });

  it('a wrong variable ends with 2 and names it', async () => {
    for (const args of [['config'], ['serve'], ['devices', 'list'], ['import', file, '--device', 'a']]) {
      const { code, err } = await runCli(args, { env: { PORT: 'http' } });
      assert.equal(code, 2);
      assert.match(
        err,
        /^fieldlog: Wrong configuration: PORT: must be a whole number from 0 to 65535\. .*\n$/,
      );
    }
  });
});
