import assert from 'node:assert/strict';
import type { DeviceFilter } from '../../application/ports/queries.ts';
import { deviceLike, entryLike, type ReadModelFixture } from '../support/read-model-fixture.ts';
import type { Opened } from './opened.ts';

/** What every DeviceQueries must do. */
export function deviceQueriesContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly fixture: ReadModelFixture }>>,
): void {
  describe(`${adapter} honours DeviceQueries`, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    let fixture: ReadModelFixture;

    before(async () => {
      opened = await open();
      fixture = opened.fixture;
    });
    beforeEach(() => fixture.empty());
    after(() => opened?.close());

    const idsOf = async (filter: DeviceFilter, limit = 100, after?: string): Promise<readonly string[]> =>
      (await fixture.devices.list(filter, { limit, ...(after !== undefined && { after }) })).map(
        ({ deviceId }) => deviceId,
      );

    describe('list', () => {
      it('gives nothing when there are no devices', async () => assert.deepEqual(await idsOf({}), []));

      it('tells all of a device', async () => {
        const device = deviceLike({
          deviceId: 'd-1',
          name: 'Kessel "Ω" \\ 😀',
          type: 'boiler',
          status: 'suspended',
          labels: { constructor: 'yes', site: 'north' },
          revision: 3,
          updatedAt: '2024-02-01T00:00:00.000Z',
        });
        await fixture.registered(device);
        const [found] = await fixture.devices.list({}, { limit: 1 });
        assert.deepEqual({ ...found }, device);
      });

      it('gives what a caller may see, whatever else is asked for', async () => {
        const of = (deviceId: string, type: string, customer: string) =>
          deviceLike({ deviceId, type, labels: { customer, site: 'x' } });
        await fixture.registered(
          ...[
            of('a-1', 'pump', '1'),
            of('a-2', 'meter', '1'),
            of('a-3', 'pump', '2'),
            of('A-1', 'pump', '1'),
          ],
          ...[of('a', 'pump', '1'), of('a-😀', 'pump', '1'), of('b-1', 'Pump', '1'), of('a.1', 'pump', '1 ')],
        );
        const within = { idPrefix: 'a-', type: 'pump', labels: { customer: '1' } };
        assert.deepEqual(await idsOf({ within }), ['a-1', 'a-😀']);
        assert.deepEqual(await idsOf({ within: { idPrefix: 'a-' } }), ['a-1', 'a-2', 'a-3', 'a-😀']);
        assert.deepEqual(await idsOf({ within: { type: 'Pump' } }), ['b-1']);
        assert.deepEqual(await idsOf({ within: { labels: { customer: '2', site: 'x' } } }), ['a-3']);
        assert.deepEqual(await idsOf({ within, type: 'meter' }), []);
        assert.deepEqual(await idsOf({ within, labels: [{ key: 'customer', value: '2' }] }), []);
        assert.deepEqual(await idsOf({ within: { idPrefix: 'a-' }, type: 'pump' }, 1, 'a-1'), ['a-3']);
        assert.deepEqual(await idsOf({ within: {} }, 1), ['A-1']);
      });

      it('gives those of some ids that the rest of the filter matches', async () => {
        const labels = { site: 'x' };
        await fixture.registered(
          { deviceId: 'a', labels },
          { deviceId: 'b', labels },
          { deviceId: 'A', labels: {} },
        );
        assert.deepEqual(await idsOf({ ids: ['b', 'A', 'none'] }), ['A', 'b']);
        assert.deepEqual(await idsOf({ ids: ['b', 'A'], labels: [{ key: 'site', value: 'x' }] }), ['b']);
        assert.deepEqual(await idsOf({ ids: ['a', 'b'], within: { idPrefix: 'b' } }), ['b']);
        assert.deepEqual(await idsOf({ ids: ['a', 'b'] }, 10, 'a'), ['b']);
      });

      it('continues after a device, in order of id, in which case counts', async () => {
        await fixture.registered(
          ...['b', 'a', 'B', 'A', 'a-1', 'a.1', 'a:1'].map((deviceId) => ({ deviceId })),
        );
        const all = ['A', 'B', 'a', 'a-1', 'a.1', 'a:1', 'b'];
        assert.deepEqual(await idsOf({}), all);
        for (const limit of [1, 2, 3, 7]) {
          const paged: string[] = [];
          for (
            let page = await idsOf({}, limit);
            page.length > 0;
            page = await idsOf({}, limit, paged.at(-1))
          )
            paged.push(...page);
          assert.deepEqual(paged, all);
        }
      });

      it('finds by status and by type', async () => {
        await fixture.registered(
          { deviceId: 'd-1', status: 'active', type: 'boiler' },
          { deviceId: 'd-2', status: 'suspended', type: 'boiler' },
          { deviceId: 'd-3', status: 'active', type: 'Boiler' },
        );
        assert.deepEqual(await idsOf({ status: 'active' }), ['d-1', 'd-3']);
        assert.deepEqual(await idsOf({ type: 'boiler' }), ['d-1', 'd-2']);
        assert.deepEqual(await idsOf({ status: 'suspended', type: 'boiler' }), ['d-2']);
        assert.deepEqual(await idsOf({ status: 'decommissioned' }), []);
      });

      it('finds devices that have every label', async () => {
        await fixture.registered(
          { deviceId: 'd-1', labels: { site: 'north', floor: '1' } },
          { deviceId: 'd-2', labels: { site: 'north', floor: '2' } },
          { deviceId: 'd-3', labels: { site: 'North', toString: '1' } },
        );
        const label = (key: string, value: string) => ({ key, value });
        assert.deepEqual(await idsOf({ labels: [label('site', 'north')] }), ['d-1', 'd-2']);
        assert.deepEqual(await idsOf({ labels: [label('site', 'north')] }, 1, 'd-1'), ['d-2']);
        assert.deepEqual(await idsOf({ labels: [label('site', 'north'), label('floor', '2')] }), ['d-2']);
        assert.deepEqual(await idsOf({ labels: [label('floor', '1'), label('floor', '2')] }), []);
        assert.deepEqual(await idsOf({ labels: [label('toString', '1')] }), ['d-3']);
        assert.deepEqual(await idsOf({ labels: [label('constructor', '1')] }), []);
        assert.deepEqual(await idsOf({ labels: [] }), ['d-1', 'd-2', 'd-3']);
      });

      it('tells text apart that differs in spaces at its end', async () => {
        await fixture.registered(
          { deviceId: 'd-1', type: 'boiler', labels: { site: 'north', floor: '1 ' } },
          { deviceId: 'd-2', type: 'boiler ', labels: { site: 'north  ', floor: '1' } },
        );
        const labelled = (...labels: [key: string, value: string][]) =>
          idsOf({ labels: labels.map(([key, value]) => ({ key, value })) });
        assert.deepEqual(await labelled(['site', 'north']), ['d-1']);
        assert.deepEqual(await labelled(['site', 'north  ']), ['d-2']);
        assert.deepEqual(await labelled(['site', 'north ']), []);
        assert.deepEqual(await labelled(['site', 'north'], ['floor', '1 ']), ['d-1']);
        assert.deepEqual(await labelled(['site', 'north'], ['floor', '1']), []);
        assert.deepEqual(await idsOf({ type: 'boiler' }), ['d-1']);
        assert.deepEqual(await idsOf({ type: 'boiler ' }), ['d-2']);
      });

      it('takes a hundred labels', async () => {
        const labels = Array.from({ length: 100 }, (_, i) => ({ key: `k${i}`, value: `v${i}` }));
        const all = Object.fromEntries(labels.map(({ key, value }) => [key, value]));
        await fixture.registered(
          { deviceId: 'd-1', labels: all },
          { deviceId: 'd-2', labels: { ...all, k99: 'other' } },
        );
        assert.deepEqual(await idsOf({ labels, text: 'd' }), ['d-1']);
      });

      it('finds part of an id or a name, whatever its case', async () => {
        await fixture.registered(
          { deviceId: 'Pump-1', name: 'Main 100% pump' },
          { deviceId: 'd-2', name: 'ÜBERLAUF_a' },
          { deviceId: 'd-3', name: 'back\\slash!' },
        );
        const found = (text: string) => idsOf({ text });
        assert.deepEqual(await found('pUMP'), ['Pump-1']);
        assert.deepEqual(await found('überlauf'), ['d-2']);
        assert.deepEqual(await found('D-'), ['d-2', 'd-3']);
        assert.deepEqual(await found('%'), ['Pump-1']);
        assert.deepEqual(await found('_'), ['d-2']);
        assert.deepEqual(await found('\\'), ['d-3']);
        assert.deepEqual(await found('!'), ['d-3']);
        assert.deepEqual(await found("'"), []);
        assert.deepEqual(await found('mainpump'), []);
      });
    });

    describe('history', () => {
      it('tells what happened to one device, in order of revision', async () => {
        const entries = [
          entryLike({ deviceId: 'd-1', revision: 0 }),
          entryLike({
            deviceId: 'd-1',
            revision: 1,
            event: 'DeviceSuspended',
            changes: [{ field: 'status', from: 'active', to: 'suspended' }],
            reason: 'leaks',
          }),
          entryLike({ deviceId: 'd-1', revision: 10 }),
        ];
        await fixture.happened(...entries.toReversed(), entryLike({ deviceId: 'd-2', revision: 0 }));
        const expected = entries.map(({ state: _, ...entry }) => entry);
        const plain = async (page: { limit: number; after?: number }) =>
          (await fixture.devices.history('d-1', page)).map((entry) => ({ ...entry }));
        assert.deepEqual(await plain({ limit: 10 }), expected);
        assert.deepEqual(await plain({ limit: 2 }), expected.slice(0, 2));
        assert.deepEqual(await plain({ limit: 2, after: 1 }), expected.slice(2));
        assert.deepEqual(await fixture.devices.history('d-3', { limit: 10 }), []);
      });
    });

    it('goes over to a new generation when the old one is dropped under a query', async () => {
      await fixture.registered({ deviceId: 'd-1' });
      await fixture.happened({ deviceId: 'd-1', revision: 0 });
      assert.equal((await fixture.replacedUnderWay().devices.list({}, { limit: 1 })).length, 1);
      assert.equal((await fixture.replacedUnderWay().devices.history('d-1', { limit: 1 })).length, 1);
    });
  });
}
