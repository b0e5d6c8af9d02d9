import assert from 'node:assert/strict';
import { runCli } from '../support/cli.ts';

/** Fails unless the words begin with a command that there is; arguments and options may follow it. */
export async function assertIsCommand(...words: readonly string[]): Promise<void> {
  const { out } = await runCli([...words, '--help']);
  const [usage = ''] = out.split('\n');
  // The help of what stands above it answers for a command that is not there.
  assert.doesNotMatch(usage, /\[command\]$/, words.join(' '));
  assert.ok(usage.startsWith(`Usage: fieldlog ${words[0]}`), usage);
}
