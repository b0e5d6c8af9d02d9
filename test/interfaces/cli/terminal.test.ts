import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { count, seconds, showProgress, table, terminalOn } from '../../../interfaces/cli/terminal.ts';
import { eventually } from '../../support/eventually.ts';

function screen(properties: { isTTY?: boolean; columns?: number } = {}) {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  return { stream: Object.assign(stream, properties), text: () => text };
}

describe('The terminal', () => {
  it('shows progress in place, cut to its width, and takes it away for anything else', async () => {
    const err = screen({ isTTY: true, columns: 12 });
    const out = screen();
    const terminal = terminalOn(out.stream, err.stream);
    const hide = showProgress(terminal, () => '1,000 lines, 10/s');
    await eventually(() => assert.equal(err.text(), '\r\u001b[2K1,000 lines'));
    terminal.note('done');
    hide();
    assert.equal(err.text(), '\r\u001b[2K1,000 lines\r\u001b[2Kdone\n\r\u001b[2K');
    assert.equal(out.text(), '');
  });

  it('that is dumb gets whole lines only', () => {
    const err = screen({ isTTY: true });
    const terminal = terminalOn(screen().stream, err.stream, { type: 'dumb' });
    terminal.status('1,000 lines');
    terminal.note('done');
    assert.deepEqual([terminal.live, err.text()], [false, 'done\n']);
  });

  it('asks for a yes where somebody sits at it, and nowhere else', async () => {
    const err = screen({ isTTY: true });
    assert.equal(terminalOn(screen().stream, err.stream, { stdin: Readable.from([]) }).confirm, undefined);
    for (const [answer, isYes] of [
      ['y\n', true],
      ['YES\n', true],
      ['\n', false],
      ['yesterday\n', false],
      ['', false],
    ] as const) {
      const stdin = Object.assign(Readable.from([answer]), { isTTY: true });
      const { confirm } = terminalOn(screen().stream, err.stream, { stdin });
      assert.equal(await confirm?.('Sure?'), isYes, JSON.stringify(answer));
    }
    assert.match(err.text(), /Sure\? \[y\/N\] /);
  });

  it('that is a file gets whole lines only', () => {
    const err = screen();
    const terminal = terminalOn(screen().stream, err.stream);
    terminal.status('1,000 lines');
    terminal.note('done');
    assert.equal(err.text(), 'done\n');
  });

  it('writes no faster than its reader reads', async () => {
    const waiting: (() => void)[] = [];
    const slow = new Writable({
      highWaterMark: 1,
      write: (_chunk, _encoding, done) => void waiting.push(done),
    });
    const terminal = terminalOn(slow, screen().stream);
    let written = false;
    const writing = terminal.out('a long answer').then(() => {
      written = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(written, false);
    waiting.shift()?.();
    await writing;
  });

  it('fails when an answer cannot be written, but not when nobody reads it', async () => {
    for (const [code, fails] of [
      ['EPIPE', false],
      ['ENOSPC', true],
    ] as const) {
      const broken = new Writable({
        highWaterMark: 1,
        write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })),
      });
      const terminal = terminalOn(broken, screen().stream);
      const writing = terminal.out('an answer').then(() => terminal.out('more'));
      if (fails) await assert.rejects(writing, { name: 'OutputFailed', message: /ENOSPC/ });
      else await writing;
    }
  });
});

describe('Figures for people', () => {
  it('are easy to read', () => {
    assert.equal(count(1234567), '1,234,567');
    assert.deepEqual([0, 59_940, 59_960, 61_400, 3_600_000].map(seconds), [
      ...['0.0 s', '59.9 s', '1 min 0 s', '1 min 1 s', '60 min 0 s'],
    ]);
    assert.equal(
      table(
        ['a', 'number'],
        [
          ['long', '7'],
          ['\u001b[2J', '10'],
        ],
        ['number'],
      ),
      ['a          number', 'long            7', '\\u001b[2J      10', ''].join('\n'),
    );
  });
});
