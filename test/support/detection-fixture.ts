import { type RuleDefinition, type RuleEvent, ruleStream } from '../../domain/detection/rule.ts';
import { type DeviceEvent, deviceStream } from '../../domain/device.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { type ReplayFixture, replayFixture } from './replay-fixture.ts';

export type StoredAlarmRow = {
  readonly alarm_id: string;
  readonly rule_id: string;
  readonly device_id: string;
  readonly metric: string | null;
  readonly state: string;
  readonly raised_at: number;
  readonly cleared_at: number | null;
  readonly explanation: string;
  readonly cleared_by: string | null;
  readonly escalations: number;
};

/** The whole application, with rules that count from any moment. */
export async function detectionFixture(env: Readonly<Record<string, string>> = {}) {
  const fixture: ReplayFixture = await replayFixture(env);
  const eventStore = await fixture.container.getAsync(s.eventStore);
  const revisions = new Map<string, number>();

  async function record(stream: string, { type, data }: RuleEvent | DeviceEvent, at: number): Promise<void> {
    const expected = revisions.get(stream);
    const metadata = {
      $correlationId: 'c',
      $causationId: 'c',
      actor: 'test',
      recordedAt: new Date(at).toISOString(),
      schemaVersion: 1,
    };
    const id = `${stream}-${(expected ?? -1) + 1}`;
    const [recorded] = await eventStore.append(stream, [{ id, type, data, metadata }], expected ?? 'none');
    revisions.set(stream, recorded?.revision ?? 0);
  }

  async function append(event: RuleEvent): Promise<void> {
    await record(ruleStream(event.data.ruleId), event, Date.now());
    await (await fixture.container.getAsync(s.ruleBook)).refreshNow();
  }

  return {
    ...fixture,
    append,

    /** In 1970, so that readings of any moment are judged. */
    register: (deviceId: string) =>
      record(
        deviceStream(deviceId),
        { type: 'DeviceRegistered', data: { deviceId, name: deviceId, type: 'test', labels: {} } },
        0,
      ),

    rule: (ruleId: string, rule: Partial<RuleDefinition> & Pick<RuleDefinition, 'condition'>, since = 0) =>
      append({
        type: 'RuleCreated',
        data: { ruleId, since, name: ruleId, selector: {}, severity: 'warning', notify: [], ...rule },
      }),

    /** Of the active generation, in order of their times. */
    alarms: async (generation = 1) =>
      fixture.db.all<StoredAlarmRow>(
        `SELECT alarm_id, rule_id, device_id, metric, state, raised_at, cleared_at, explanation, cleared_by, escalations
         FROM alarms_g${generation} ORDER BY raised_at, alarm_id`,
      ),

    totals: async () =>
      (
        await fixture.db.all<Record<string, number>>(
          'SELECT points, out_of_order, unwatched, text_values, series FROM detection_totals_g1',
        )
      )[0],

    digest: async (generation = 1) =>
      (await fixture.ports.control.digest({ projection: 'detection', generation })).tables,
  };
}
