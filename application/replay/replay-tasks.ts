import type { GenerationDigest } from '../ports/projection-control.ts';
import type { AuditQuery, AuditReport } from './audit.ts';
import type { Claimed } from './rebuild.ts';

/** A build that goes on after it was asked for. */
export type BuildTask = {
  readonly do: 'rebuild' | 'switch' | 'rollback';
  readonly projection: string;
  /** Events a second at most. */
  readonly throttle?: number | undefined;
  /** Of a rebuild: this device only, in place. */
  readonly deviceId?: string | undefined;
  readonly keepOlder?: boolean | undefined;
};

/** Long work beside the requests that ask for it. */
export type ReplayTasks = {
  /** Resolves once the build is under way; how it goes on, the states of the projection tell. */
  start(task: BuildTask): Promise<Claimed>;
  /** Throws the signal's reason once it is aborted. */
  audit(query: AuditQuery, signal: AbortSignal): Promise<AuditReport>;
  digest(projection: string, generation?: number): Promise<GenerationDigest>;
};
