import { PoisonEvent } from '../../application/checked-batch.ts';
import { KeysUnavailable } from '../../application/ports/api-keys.ts';
import { OperatorNeeded } from '../../application/ports/event-source.ts';
import {
  AppendTooLarge,
  EventStoreUnavailable,
  StreamDeleted,
  StreamUnreadable,
} from '../../application/ports/event-store.ts';
import { RebuildUnderWay, ReplayRefused } from '../../application/ports/generations.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import { StorageFault } from '../../application/ports/storage.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import { NotYetProjected } from '../../application/progress.ts';
import { Rejection } from '../../domain/decider.ts';
import { StartupError, StoreUnusable } from '../../infrastructure/startup-error.ts';
import { UnusableInput } from '../import/unusable-input.ts';
import { exitCodes, Interrupted, Refused, ServerUnavailable, UsageError } from './exit-codes.ts';
import { OutputFailed } from './terminal.ts';

const kinds = [
  [
    exitCodes.refused,
    [
      Refused,
      Rejection,
      ReplayRefused,
      RebuildUnderWay,
      PoisonEvent,
      AppendTooLarge,
      StreamDeleted,
      StreamUnreadable,
    ],
  ],
  [
    exitCodes.unavailable,
    [
      ServerUnavailable,
      StoreUnusable,
      EventStoreUnavailable,
      ReadModelsUnavailable,
      TelemetryLogUnavailable,
      NotYetProjected,
      KeysUnavailable,
      StorageFault,
      OutputFailed,
      OperatorNeeded,
    ],
  ],
  // After `StoreUnusable`, which is one of them.
  [exitCodes.usage, [UsageError, UnusableInput, StartupError]],
] as const;

/** What a command that failed ends with. Apart from the codes, since the errors of every layer take long to load. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return error.exitCode;
  const kind = kinds.find(([, classes]) => classes.some((one) => error instanceof one));
  return kind ? kind[0] : exitCodes.unexpected;
}
