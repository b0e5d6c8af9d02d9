import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

/** Debian's broker on a port of loopback. What it has acknowledged stays over a `stop`, not over a `SIGKILL`. */
export class Mosquitto {
  readonly port: number;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #said = '';

  private constructor(port: number, folder: string) {
    this.port = port;
    this.#folder = folder;
  }

  /** `settings` are lines of mosquitto.conf, `files` what they name, in the broker's folder. */
  static async start(settings: readonly string[], files: Readonly<Record<string, string>> = {}) {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-mosquitto-'));
    const broker = new Mosquitto(await freePort(), folder);
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
    const lines = [
      `user ${userInfo().username}`,
      `listener ${broker.port} 127.0.0.1`,
      ...settings.map((line) => line.replaceAll('$FOLDER', folder)),
      ...['persistence true', `persistence_location ${folder}/`, 'max_queued_messages 0'],
    ];
    await writeFile(path.join(folder, 'mosquitto.conf'), lines.join('\n'));
    await broker.start();
    return broker;
  }

  async start(): Promise<void> {
    const child = spawn('mosquitto', ['-c', path.join(this.#folder, 'mosquitto.conf')]);
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => {
        this.#said += text;
      });
    this.#child = child;
    await eventually(async () => {
      assert.equal(child.exitCode, null, this.#said);
      const socket = connect(this.port, '127.0.0.1');
      try {
        await once(socket, 'connect');
      } finally {
        socket.destroy();
      }
    });
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  async remove(): Promise<void> {
    await this.stop('SIGKILL');
    await rm(this.#folder, { recursive: true });
  }
}

/** Of its file of users, as mosquitto_passwd writes it. */
export function passwordLine(user: string, password: string): string {
  const salt = randomBytes(12);
  const hash = createHash('sha512').update(password).update(salt).digest('base64');
  return `${user}:$6$${salt.toString('base64')}$${hash}`;
}
