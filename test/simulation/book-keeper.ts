import { isDeepStrictEqual } from 'node:util';

/** The little of events and answers that the book-keeper reads. It shares no code with the product. */
export type DeviceFact = {
  readonly id: string;
  readonly type: string;
  readonly stream: string;
  readonly revision: number;
  readonly position: string;
  readonly data: unknown;
  readonly metadata: { readonly $correlationId: string; readonly recordedAt: string; readonly actor: string };
};
export type Snapshot = {
  readonly deviceId: string;
  readonly name: string;
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly status: string;
  readonly revision: number;
};
export type CommandRequest = {
  readonly id: string;
  readonly command: { readonly type: string; readonly deviceId: string };
  readonly key?: string | undefined;
  readonly expectedRevision?: number | undefined;
};
export type Answer = { readonly device: Snapshot; readonly position: string; readonly wasReplayed: boolean };
type State = Pick<Snapshot, 'name' | 'type' | 'labels' | 'status'>;

/** Something that may never be so. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Errors that a caller may be given; any other is a fault of the product's own. */
const expectedErrors = new Set([
  'Rejection',
  'StaleRevision',
  'IdempotencyKeyReused',
  'RevisionConflict',
  'EventStoreUnavailable',
  'TelemetryLogUnavailable',
  'ReadModelsUnavailable',
  'NotYetProjected',
  'ReplayRefused',
  'SwitchedMeanwhile',
  'RebuildUnderWay',
  'AbortError',
  'StreamDeleted',
]);

/** What devices were asked and answered, and what their log says of it. */
export class DeviceBook {
  readonly #facts: () => readonly DeviceFact[];
  readonly #streams = new Map<string, DeviceFact[]>();
  /** Of each fact in `#streams`, what the device is after it. */
  readonly #states = new Map<DeviceFact, State | undefined>();
  readonly #byPosition = new Map<string, DeviceFact>();
  readonly #answers = new Map<string, { readonly revision: number; readonly status: string }>();
  readonly #requestOfKey = new Map<string, Set<string>>();
  readonly #acknowledged = new Map<string, number>();
  readonly #deleted = new Set<string>();
  /** Requests that were made when the device's stream was deleted already. */
  readonly #tooLate = new Set<string>();
  #read = 0;

  constructor(facts: () => readonly DeviceFact[]) {
    this.#facts = facts;
  }

  #catchUp(): void {
    const facts = this.#facts();
    for (; this.#read < facts.length; this.#read += 1) {
      const fact = facts[this.#read] as DeviceFact;
      if (!fact.stream.startsWith('device-')) continue;
      if (fact.type === '$streamDeleted') {
        this.#streams.delete(fact.stream);
        this.#deleted.add(fact.stream);
        continue;
      }
      const stream = this.#streams.get(fact.stream) ?? [];
      const before = stream.at(-1);
      check(
        fact.revision === (before?.revision ?? -1) + 1,
        () => `${fact.stream} has a gap before ${fact.revision}`,
      );
      check(
        before === undefined || fact.metadata.recordedAt >= before.metadata.recordedAt,
        () => `revision ${fact.revision} of ${fact.stream} is recorded before the one before it`,
      );
      stream.push(fact);
      this.#states.set(fact, stateAfter(fact, before && this.#states.get(before)));
      this.#streams.set(fact.stream, stream);
      this.#byPosition.set(fact.position, fact);
    }
  }

  /** An older log was put back: what it lost was lost by the operator. */
  restart(): void {
    for (const some of [this.#streams, this.#states, this.#byPosition, this.#answers, this.#requestOfKey])
      some.clear();
    for (const some of [this.#acknowledged, this.#deleted, this.#tooLate]) some.clear();
    this.#read = 0;
  }

  stream(deviceId: string): readonly DeviceFact[] {
    this.#catchUp();
    return this.#streams.get(`device-${deviceId}`) ?? [];
  }

  get deviceIds(): readonly string[] {
    this.#catchUp();
    return idsOf(this.#streams.keys());
  }

  /** Nothing is promised of a device whose stream somebody deleted, but that it leaves every list. */
  isDeleted(deviceId: string): boolean {
    this.#catchUp();
    return this.#deleted.has(`device-${deviceId}`);
  }

  get deletedIds(): readonly string[] {
    this.#catchUp();
    return idsOf(this.#deleted);
  }

  /** How many devices were registered in that name. */
  registeredBy(correlationId: string): number {
    const facts = this.#facts();
    return facts.filter(
      ({ type, metadata }) => type === 'DeviceRegistered' && metadata.$correlationId === correlationId,
    ).length;
  }

  state(deviceId: string): State | undefined {
    return this.#stateAt(this.stream(deviceId), Number.POSITIVE_INFINITY);
  }

  /** Revisions of a stream are counted from 0, without gaps. */
  #stateAt(stream: readonly DeviceFact[], revision: number): State | undefined {
    const fact = revision < stream.length ? stream[revision] : stream.at(-1);
    return fact && this.#states.get(fact);
  }

  /** The newest revision that anyone was answered with so far. */
  acknowledged(deviceId: string): number {
    return this.#acknowledged.get(deviceId) ?? -1;
  }

  asked({ id, command, key }: CommandRequest): void {
    if (this.isDeleted(command.deviceId)) this.#tooLate.add(id);
    if (key === undefined) return;
    const name = `${command.deviceId} ${key}`;
    this.#requestOfKey.set(name, (this.#requestOfKey.get(name) ?? new Set()).add(id));
  }

  answered(request: CommandRequest, { device, position, wasReplayed }: Answer): void {
    const { id, command, key, expectedRevision } = request;
    check(
      !this.#tooLate.has(id),
      () => `${id} was answered after the stream of ${command.deviceId} was deleted`,
    );
    if (this.isDeleted(command.deviceId)) return;
    const stream = this.stream(command.deviceId);
    const fact = this.#byPosition.get(position);
    check(
      fact?.stream === `device-${command.deviceId}` && fact.revision === device.revision,
      () => `${id} was answered with revision ${device.revision} at ${position}, which is not in the log`,
    );
    check(
      isDeepStrictEqual(stateOf(device), this.#stateAt(stream, device.revision)),
      () => `${id} was answered with a state that revision ${device.revision} does not have`,
    );
    const mine = stream.filter(({ metadata }) => metadata.$correlationId === id);
    if (!wasReplayed && mine.length > 0) {
      check(mine.at(-1)?.revision === device.revision, () => `${id} was answered with another's revision`);
      if (expectedRevision !== undefined)
        check(
          mine[0]?.revision === expectedRevision + 1,
          () => `${id} did not follow revision ${expectedRevision}`,
        );
    }
    this.#acknowledged.set(command.deviceId, Math.max(this.acknowledged(command.deviceId), device.revision));
    // Of a device that is gone for good nothing is kept: no repeat could change it.
    const isFinal = device.status === 'decommissioned' || device.status === 'erased';
    if (key === undefined || (mine.length === 0 && !wasReplayed && isFinal)) return;
    const name = `${command.deviceId} ${key}`;
    const answer = { revision: device.revision, status: device.status };
    const before = this.#answers.get(name);
    check(
      before === undefined || isDeepStrictEqual(before, answer),
      () =>
        `key ${key} of ${command.deviceId} gave ${JSON.stringify(before)} and then ${JSON.stringify(answer)}`,
    );
    this.#answers.set(name, answer);
  }

  /** `knownBefore`: the revision acknowledged when the request was made. */
  refused({ id, command }: CommandRequest, error: Error, knownBefore: number): void {
    checkError(error, id);
    const isDeleted = this.isDeleted(command.deviceId);
    check(
      isDeleted || error.name !== 'StreamDeleted',
      () => `${id} was told that the stream of ${command.deviceId} is deleted, which it is not`,
    );
    if (isDeleted) return;
    // Users repeat a request as it was; only the order of names differs.
    check(error.name !== 'IdempotencyKeyReused', () => `${id} was taken for another request than its first`);
    if (error.name !== 'Rejection') return;
    const { code } = error as Error & { readonly code?: string };
    if (code === 'DeviceNotRegistered')
      check(
        knownBefore < 0,
        () => `${id} got the answer that ${command.deviceId} is not registered, which it was`,
      );
    if (code === 'DeviceAlreadyRegistered')
      check(this.stream(command.deviceId).length > 0, () => `${id} got a registration that is not there`);
  }

  /** A read that claims to be as new as the log. */
  strongRead(deviceId: string, found: Snapshot | undefined, knownBefore: number): void {
    if (this.isDeleted(deviceId)) return;
    const stream = this.stream(deviceId);
    const revision = found?.revision ?? -1;
    check(
      revision >= knownBefore,
      () => `${deviceId} was read at ${revision} after ${knownBefore} was answered`,
    );
    check(
      isDeepStrictEqual(found && stateOf(found), this.#stateAt(stream, revision)),
      () => `${deviceId} was read at revision ${revision} in a state that it does not have`,
    );
  }

  /** Once all is quiet. `list` and `history` are what the queries answer. */
  settle(
    list: readonly Snapshot[],
    history: (deviceId: string) => readonly { readonly revision: number; readonly event: string }[],
  ): void {
    this.#catchUp();
    const ids = this.deviceIds;
    check(
      isDeepStrictEqual(list.map(({ deviceId }) => deviceId).sort(), ids),
      () => `devices in the list: ${list.length}, in the log: ${ids.length}`,
    );
    for (const found of list) {
      const stream = this.stream(found.deviceId);
      check(
        found.revision === stream.at(-1)?.revision,
        () => `${found.deviceId} is listed at revision ${found.revision}`,
      );
      check(
        isDeepStrictEqual(stateOf(found), this.#stateAt(stream, found.revision)),
        () => `${found.deviceId} is listed in another state`,
      );
      const erased = stream.findLastIndex(({ type }) => type === 'DeviceErased');
      const expected = stream.slice(Math.max(0, erased)).map(({ revision, type }) => `${revision} ${type}`);
      const entries = history(found.deviceId).map(({ revision, event }) => `${revision} ${event}`);
      check(
        isDeepStrictEqual(entries, expected),
        () => `history of ${found.deviceId}: ${entries} instead of ${expected}`,
      );
    }
    for (const [key, requests] of this.#requestOfKey) {
      const [deviceId = ''] = key.split(' ');
      const acted = new Set(this.stream(deviceId).map(({ metadata }) => metadata.$correlationId));
      const winners = [...requests].filter((id) => acted.has(id));
      check(winners.length <= 1, () => `key ${key} was acted on ${winners.length} times`);
    }
  }
}

/** A caller may be refused or not be answered, but never be shown a fault of the product. */
export function checkError(error: Error, id: string): void {
  check(expectedErrors.has(error.name), () => `${id} failed with ${error.name}: ${error.message}`);
}

export function check(holds: boolean, violation: () => string): asserts holds {
  if (!holds) throw new Violation(violation());
}

const idsOf = (streams: Iterable<string>) =>
  [...streams].map((stream) => stream.slice('device-'.length)).sort();

const stateOf = ({ name, type, labels, status }: State): State => ({ name, type, labels, status });

function stateAfter({ type, data }: DeviceFact, before: State | undefined): State | undefined {
  const said = data as Partial<State>;
  if (type === 'DeviceRegistered')
    return { name: said.name ?? '', type: said.type ?? '', labels: said.labels ?? {}, status: 'active' };
  if (!before) return undefined;
  if (type === 'DeviceErased') return { name: 'erased', type: said.type ?? '', labels: {}, status: 'erased' };
  if (type === 'DeviceSuspended') return { ...before, status: 'suspended' };
  if (type === 'DeviceReinstated') return { ...before, status: 'active' };
  if (type === 'DeviceDecommissioned') return { ...before, status: 'decommissioned' };
  if (type !== 'DeviceDetailsChanged') return before;
  return {
    ...before,
    ...(said.name !== undefined && { name: said.name }),
    ...(said.type !== undefined && { type: said.type }),
    ...(said.labels !== undefined && { labels: said.labels }),
  };
}
