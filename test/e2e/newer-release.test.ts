import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { projectionNames, versionOf } from '../../application/projections/projection.ts';
import { onEachProfile, type Profile } from '../support/each-profile.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { newerRelease } from '../support/newer-release.ts';
import { type RunningServer, runningServer } from '../support/running-server.ts';

const readings = 3000;

/** What both releases must answer alike, whatever comes meanwhile. */
const questions = [
  '/api/v1/devices?q=a',
  '/api/v1/devices/a/history',
  `/api/v1/devices/a/telemetry?to=${readings}&limit=10000`,
];

onEachProfile('A release with newer versions of its projections', (open) => {
  let profile: Profile;
  let server: RunningServer;
  let newer: Awaited<ReturnType<typeof newerRelease>>;
  let deployed: readonly FieldlogProcess[] = [];

  before(async () => {
    newer = await newerRelease();
    profile = await open();
    server = await runningServer(profile.env, profile.roles);
    await server.register('a', 'b');
    for (let n = 0; n < readings; n += 1000)
      await server.measure(
        'a',
        Array.from({ length: 1000 }, (_, i) => n + i),
      );
    await server.settled();
  });
  after(async () => {
    await endDeployed();
    await server.close();
    await profile.drop();
    await newer.remove();
  });

  it('is built beside the old one, which nodes of the old release serve until it is switched to', async () => {
    await endDeployed();
    const first = await answers();
    const stop = new AbortController();
    const work = [read(), change()];
    try {
      const roles = profile.roles?.filter((role) => role !== 'api') ?? ['serve'];
      deployed = roles.map((role) =>
        fieldlog([role], { ...server.stores, PORT: '0', WORKER_PORT: '0' }, newer.bin),
      );
      await eventually(async () => assert.deepEqual(await activeVersions(), versions(1)), {
        within: 120_000,
      });
    } finally {
      stop.abort();
      await Promise.all(work);
    }
    await server.settled();
    assert.deepEqual(await answers(), first);
    // Who built it continues for a moment, until the workers have taken over.
    await eventually(async () => {
      for (const { generations } of await projections())
        assert.deepEqual(
          generations.map(({ generation, status, outcome }) => [generation, status, outcome?.result]),
          [
            [1, 'retired', undefined],
            [2, 'active', 'switched'],
          ],
        );
    });
    assert.match(await audited(newer.bin), /No difference/);

    async function read(): Promise<void> {
      for (; !stop.signal.aborted; await pause(50)) assert.deepEqual(await answers(), first);
    }

    async function change(): Promise<void> {
      for (let n = 0; !stop.signal.aborted; n += 1) {
        await server.measure('b', [n]);
        await server.call('PATCH', '/api/v1/devices/b', { json: { name: `B ${n}` } });
        await pause(50);
      }
    }
  });

  it('can be rolled back by the old release, whose workers then continue', async () => {
    await endDeployed();
    await server.measure('b', [-1]);
    await Promise.all(
      projectionNames.map(async (name) => {
        const { code, out, err } = await server.command('projections', 'rollback', name, '--json');
        assert.equal(code, 0, err);
        const { comparison } = JSON.parse(out);
        assert.deepEqual(
          comparison.tables.filter(({ equal }: { equal: boolean }) => !equal && comparison.samePosition),
          [],
        );
      }),
    );
    assert.deepEqual(await activeVersions(), versions(0));
    await server.measure('b', [-2]);
    await server.settled();
    assert.match(await audited(), /No difference/);
  });

  /** A second try of a test finds those of the first. */
  async function endDeployed(): Promise<void> {
    await Promise.all(deployed.map((one) => one.end('SIGTERM')));
    deployed = [];
  }

  async function audited(bin?: string): Promise<string> {
    const auditing = fieldlog(['audit'], server.stores, bin);
    const [all] = await auditing.says(/.*differences?[.:].*/s, 60_000);
    await auditing.end('SIGTERM');
    return all;
  }

  const answers = () =>
    Promise.all(
      questions.map(async (question) => {
        const { status, text } = await server.call('GET', question);
        assert.equal(status, 200, text);
        return text;
      }),
    );

  async function projections(): Promise<readonly Projection[]> {
    return (await server.call('GET', '/api/v1/projections')).json.projections;
  }

  async function activeVersions(): Promise<ReadonlyMap<string, number | undefined>> {
    return new Map(
      (await projections()).map(({ projection, active, generations }) => [
        projection,
        generations.find(({ generation }) => generation === active)?.version,
      ]),
    );
  }
});

const versions = (newerBy: number): ReadonlyMap<string, number> =>
  new Map(projectionNames.map((name) => [name, versionOf(name) + newerBy]));

type Projection = {
  readonly projection: string;
  readonly active: number;
  readonly generations: readonly {
    readonly generation: number;
    readonly version: number;
    readonly status: string;
    readonly outcome: { readonly result: string } | null;
  }[];
};
