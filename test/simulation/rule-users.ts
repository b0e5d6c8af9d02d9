import type { Condition, RuleDefinition } from '../../domain/detection/rule.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { checkError } from './book-keeper.ts';
import type { Random } from './random.ts';
import type { Requests } from './requests.ts';
import type { RunningProcess } from './world/fieldlog.ts';
import type { World } from './world.ts';

const workWeights = { create: 5, change: 2, disable: 1, enable: 1, remove: 0.4 };

/** Who makes rules and changes them, with a source of chance of their own. */
export class RuleUsers {
  readonly #world: World;
  readonly #requests: Requests;
  readonly #random: Random;

  constructor(world: World, requests: Requests, random: Random) {
    this.#world = world;
    this.#requests = requests;
    this.#random = random;
  }

  async act(api: RunningProcess): Promise<void> {
    const { timeline } = this.#world;
    const work = this.#random.weighted(workWeights);
    const ruleId = `rule${this.#random.between(1, 4)}`;
    const definition = this.#definition();
    const id = this.#requests.id('rule');
    timeline.count(`operation: ${work} a rule`);
    timeline.add(api.process.name, `${id} ${work} ${ruleId} ${definition.condition.kind}`);
    const conditions = { correlationId: id, actor: 'owner' };
    try {
      const rules = await api.container.getAsync(s.rules);
      if (work === 'create') await rules.create(ruleId, definition, conditions);
      else if (work === 'change') await rules.change(ruleId, { condition: definition.condition }, conditions);
      else await rules.set(ruleId, work, conditions);
    } catch (error) {
      this.#requests.failed(api, id, error);
      checkError(error as Error, id);
    }
  }

  #definition(): RuleDefinition {
    const random = this.#random;
    const condition = random.pick<Condition>([
      { kind: 'range', above: 5, clearAbove: 2 },
      { kind: 'range', below: -4, count: 2 },
      { kind: 'rate', above: 0.5 },
      { kind: 'stuck', for: 5_000, tolerance: 1 },
      { kind: 'silent', for: 2_000 },
      { kind: 'novel' },
    ]);
    const selector = random.pick([{}, {}, { type: 'sensor' }, { labels: { a: '1' } }, { deviceId: 'd1' }]);
    const metric = random.chance(0.5) ? { metric: 't' } : {};
    return { name: 'a rule', selector, ...metric, severity: 'warning', condition, notify: [] };
  }
}
