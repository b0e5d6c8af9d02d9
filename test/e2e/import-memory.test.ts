import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ownEnvironment } from '../support/own-environment.ts';

const launcher = path.resolve(import.meta.dirname, '../../interfaces/cli/fieldlog');
/**
 * `most` is MiB, of which Node, the modules and a thread take 115 for ten lines already: 141 were measured for 300,000
 * lines of 100 devices, 180 for 180,000 of 60,000.
 */
const imports = [
  { devices: 100, lines: 100_000, most: 160 },
  { devices: 20_000, lines: 40_000, most: 180 },
];

describe('The memory of an import', function () {
  this.timeout(120_000);
  let folder: string;
  let running: ChildProcess | undefined;

  before(function () {
    if (!existsSync('/proc/self/status')) this.skip();
    folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-memory-'));
  });
  afterEach(() => {
    if (running?.exitCode === null) running.kill('SIGKILL');
  });
  after(() => folder && rmSync(folder, { recursive: true }));

  for (const { devices, lines, most } of imports)
    it(`straight into the stores is bounded: ${lines} lines of ${devices} devices`, async () => {
      const file = path.join(folder, 'lines.csv');
      // The first start after a change compiles, which takes 30 MiB for a moment.
      writeFileSync(file, csv(10, 10));
      await imported(file, { DATA_DIR: path.join(folder, `first-${devices}`) });
      writeFileSync(file, csv(devices, lines));
      const { peak, code, out } = await imported(file, { DATA_DIR: path.join(folder, `data-${devices}`) });
      assert.equal(code, 0);
      const count = (n: number) => n.toLocaleString('en');
      assert.ok(out.includes(`Imported ${count(lines)} readings of ${count(devices)} devices`), out);
      assert.ok(peak < most, `it took ${peak} MiB`);
    });

  /** `peak` is MiB, as the kernel last said before the end. */
  async function imported(file: string, env: Readonly<Record<string, string>>) {
    const child = spawn(launcher, ['import', file], {
      env: { ...ownEnvironment, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    running = child;
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    let peak = 0;
    const looking = setInterval(() => {
      peak = Math.max(peak, peakOf(child.pid as number) ?? 0);
    }, 50);
    const [code] = await once(child, 'close');
    clearInterval(looking);
    assert.ok(peak > 0);
    return { peak, code, out };
  }
});

/** Four columns; the readings of each device a minute apart. */
function csv(devices: number, count: number): string {
  const rows = ['deviceId,timestamp,temperature,humidity'];
  for (let n = 0; n < count; n += 1) {
    const at = new Date(Date.UTC(2026, 0, 1) + Math.floor(n / devices) * 60_000).toISOString();
    rows.push(`device-${n % devices},${at},${((n % 900) / 30).toFixed(2)},${((n % 700) / 10).toFixed(1)}`);
  }
  return `${rows.join('\n')}\n`;
}

/** Nothing once the process has ended. */
function peakOf(pid: number): number | undefined {
  try {
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) / 1024;
  } catch {
    return undefined;
  }
}
