import assert from 'node:assert/strict';
import type { Command } from 'commander';
import { configSchema } from '../../../infrastructure/config/config.ts';
import { program } from '../../../interfaces/cli/program.ts';
import { runCli } from '../../support/cli.ts';

const commands = [
  [],
  ['serve'],
  ['api'],
  ['device-projector'],
  ['telemetry-projector'],
  ['import'],
  ['export'],
  ['simulate'],
  ['status'],
  ['migrate'],
  ['topics'],
  ['topics', 'migrate'],
  ['backup'],
  ['restore'],
  ['check'],
  ['config'],
  ['keys'],
  ...['create', 'list', 'revoke'].map((name) => ['keys', name]),
  ['devices'],
  ...['list', 'show', 'history', 'register', 'set', 'suspend', 'reinstate', 'decommission', 'erase'].map(
    (name) => ['devices', name],
  ),
  ['rules'],
  ...['create', 'change', 'enable', 'disable', 'remove', 'list', 'show', 'preview'].map((name) => [
    'rules',
    name,
  ]),
  ['tail'],
  ['alarms'],
  ...['list', 'show', 'acknowledge'].map((name) => ['alarms', name]),
  ['audit'],
  ['retention'],
  ...['show', 'preview', 'sweep'].map((name) => ['retention', name]),
  ['projections'],
  ...['list', 'status', 'rebuild', 'pause', 'resume', 'switch', 'rollback', 'drop', 'digest'].map((name) => [
    'projections',
    name,
  ]),
  ['hooks'],
  ...['create', 'change', 'enable', 'disable', 'remove', 'list', 'show', 'deliveries', 'retry'].map(
    (name) => ['hooks', name],
  ),
  ['dead-letters'],
  ...['list', 'counts', 'show', 'retry', 'discard'].map((name) => ['dead-letters', name]),
];

describe('The help of the command line', () => {
  for (const command of commands)
    it(`of fieldlog ${command.join(' ')} has an example and the exit codes`, async () => {
      const { code, out, err } = await runCli([...command, '--help']);
      assert.equal(code, 0);
      assert.equal(err, '');
      assert.match(out, new RegExp(`Usage: fieldlog ${command.join(' ')}`));
      assert.match(out, /Examples?:\n {2}.*fieldlog/);
      assert.match(out, /Exit codes:\n {2}0 /);
    });

  it('tells of every command there is', async () => {
    const { out } = await runCli(['--help']);
    const listed = [...(out.split('Commands:')[1] ?? '').matchAll(/^ {2}([a-z-]+)/gm)].map(
      ([, name]) => name,
    );
    const known = commands.filter(({ length }) => length === 1).flat();
    assert.deepEqual(new Set(listed.filter((name) => name !== 'fieldlog')), new Set([...known, 'help']));
  });

  it('describes each command as the command itself does', async () => {
    const descriptions = (root: Command) =>
      new Map(root.commands.map((command) => [command.name(), command.description()]));
    const context = { terminal: undefined } as never;
    assert.deepEqual(descriptions(await program(context, [])), descriptions(await program(context)));
  });

  it('of config describes every variable with its default', async () => {
    const { out } = await runCli(['config', '--help']);
    for (const [name, { description }] of Object.entries(configSchema.shape)) {
      assert.ok(description);
      assert.ok(out.includes(`  ${name} `) && out.includes(description), name);
    }
    assert.match(out, /PORT .* \(default: 8080\)/);
  });
});
