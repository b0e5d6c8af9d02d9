import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { formatPolicy } from '../../../domain/retention.ts';
import { configFrom, maskedConfig } from '../../../infrastructure/config/config.ts';

const rules = '[{"points": "90d", "minutes": "1y"}, {"type": "boiler", "metric": "vib", "points": "1w"}]';
const parsed = [{ keep: { points: 90, '1m': 365 } }, { type: 'boiler', metric: 'vib', keep: { points: 7 } }];

describe('RETENTION', () => {
  it('is rules in JSON, or a file of them; nothing is kept for ever', async () => {
    assert.deepEqual(configFrom({}).RETENTION, []);
    assert.deepEqual(configFrom({ RETENTION: rules }).RETENTION, parsed);
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-policy-'));
    const file = path.join(folder, 'retention.json');
    await writeFile(file, rules);
    const fromFile = configFrom({ RETENTION: file }).RETENTION;
    await rm(folder, { recursive: true });
    assert.deepEqual(fromFile, parsed);
  });

  it('is shown as it is written', () => {
    const config = configFrom({ RETENTION: rules });
    const shown = maskedConfig(config).RETENTION as string;
    assert.equal(shown, '[{"points":"90d","minutes":"365d"},{"type":"boiler","metric":"vib","points":"7d"}]');
    assert.deepEqual(configFrom({ RETENTION: shown }).RETENTION, config.RETENTION);
    assert.deepEqual(formatPolicy([{ keep: { '1d': null } }]), [{ days: 'forever' }]);
  });

  for (const [given, fault] of [
    ['90d', /RETENTION: must be an array in JSON, or the path of a file with one/],
    ['[{"points": 90}', /RETENTION: is no JSON/],
    ['[{"points": "90"}]', /RETENTION\.0\.points: must be whole days, weeks or years such as 90d/],
    ['[{"points": "0d"}]', /RETENTION\.0\.points: must be whole days/],
    ['[{"type": "boiler"}]', /RETENTION\.0: must say how long points, minutes, hours or days are kept/],
    ['[{"point": "90d"}]', /RETENTION\.0: must be an object of type, metric, points/],
    ['[{"metric": "no metric", "points": "9d"}]', /RETENTION\.0\.metric: must be the name of a metric/],
    [
      '[{"points": "9d"}, {"days": "9d"}]',
      /RETENTION\.1: speaks of the same type and metric as a rule before/,
    ],
    ['[{"minutes": "9d"}]', /RETENTION\.0\.minutes: must be kept at least as long as points/],
    [
      '[{"points": "9d", "hours": "9d"}, {"type": "boiler", "points": "20d"}]',
      /RETENTION\.\d\.(hours|minutes): must be kept at least as long as/,
    ],
  ] as const)
    it(`is refused when it is ${given}`, () => {
      assert.throws(() => configFrom({ RETENTION: given }), fault);
    });
});
