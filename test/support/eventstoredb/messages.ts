import shared from '@eventstore/db-client/generated/shared_pb.js';
import status from '@eventstore/db-client/generated/status_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import type { Message } from 'google-protobuf';
import any from 'google-protobuf/google/protobuf/any_pb.js';
import empty from 'google-protobuf/google/protobuf/empty_pb.js';
import type {
  AppendOutcome,
  ExpectedVersion,
  LogPosition,
  ProposedEvent,
  Refusal,
  StoredEvent,
} from './model/events.ts';

type ProposedMessage = streams.AppendReq.ProposedMessage | streams.BatchAppendReq.ProposedMessage;
type Conflict = Extract<Refusal, { refused: 'wrong-expected-version' }>;

const alreadyExists = 6;

export const streamName = (identifier: shared.StreamIdentifier | undefined): string =>
  Buffer.from(identifier?.getStreamName_asU8() ?? []).toString('utf8');

const streamIdentifier = (name: string): shared.StreamIdentifier =>
  new shared.StreamIdentifier().setStreamName(Uint8Array.from(Buffer.from(name, 'utf8')));

/** What an append, a delete or a tombstone expects of its stream. */
export function expectedVersion(options: {
  hasRevision?(): boolean;
  getRevision?(): string;
  hasStreamPosition?(): boolean;
  getStreamPosition?(): string;
  hasNoStream(): boolean;
  hasStreamExists(): boolean;
}): ExpectedVersion {
  if (options.hasRevision?.()) return BigInt(options.getRevision?.() ?? 0);
  if (options.hasStreamPosition?.()) return BigInt(options.getStreamPosition?.() ?? 0);
  return options.hasNoStream() ? 'no-stream' : options.hasStreamExists() ? 'stream-exists' : 'any';
}

export const proposedEvent = (message: ProposedMessage): ProposedEvent => ({
  id: message.getId()?.getString() ?? '',
  type: message.getMetadataMap().get('type') ?? '',
  contentType: message.getMetadataMap().get('content-type') ?? '',
  data: message.getData_asU8(),
  metadata: message.getCustomMetadata_asU8(),
});

export function appendResponse(
  outcome: Exclude<AppendOutcome, Refusal> | Conflict,
  expected: ExpectedVersion,
): streams.AppendResp {
  const response = new streams.AppendResp();
  if ('refused' in outcome) {
    const wrong = new streams.AppendResp.WrongExpectedVersion();
    if (outcome.current === undefined) wrong.setCurrentNoStream(new shared.Empty());
    else wrong.setCurrentRevision(String(outcome.current));
    if (typeof expected === 'bigint') wrong.setExpectedRevision(String(expected));
    else if (expected === 'no-stream') wrong.setExpectedNoStream(new shared.Empty());
    else wrong.setExpectedStreamExists(new shared.Empty());
    return response.setWrongExpectedVersion(wrong);
  }
  const success = new streams.AppendResp.Success();
  success.setCurrentRevision(String(outcome.revision));
  if (outcome.position) success.setPosition(filled(new streams.AppendResp.Position(), outcome.position));
  else success.setNoPosition(new shared.Empty());
  return response.setSuccess(success);
}

export function deleteResponse<Response extends streams.DeleteResp | streams.TombstoneResp>(
  response: Response,
  position: LogPosition | undefined,
): Response {
  const Position =
    response instanceof streams.DeleteResp ? streams.DeleteResp.Position : streams.TombstoneResp.Position;
  if (position) response.setPosition(filled(new Position(), position));
  else response.setNoPosition(new shared.Empty());
  return response;
}

/** A batch append's success, or the status by which the client tells what went wrong. */
export function batchResponse(
  outcome: AppendOutcome | 'access-denied' | 'not-ready',
  expected: ExpectedVersion,
): streams.BatchAppendResp {
  const response = new streams.BatchAppendResp();
  if (outcome === 'access-denied')
    return response.setError(batchError('AccessDenied', new shared.AccessDenied()));
  if (outcome === 'not-ready') return response.setError(notReadyInBatch());
  if ('refused' in outcome) return response.setError(refusedInBatch(outcome, expected));
  const success = new streams.BatchAppendResp.Success();
  success.setCurrentRevision(String(outcome.revision));
  if (outcome.position) success.setPosition(filled(new shared.AllStreamPosition(), outcome.position));
  else success.setNoPosition(new empty.Empty());
  return response.setSuccess(success);
}

function refusedInBatch(refusal: Refusal, expected: ExpectedVersion): status.Status {
  if (refusal.refused === 'stream-deleted')
    return batchError(
      'StreamDeleted',
      new shared.StreamDeleted().setStreamIdentifier(streamIdentifier(refusal.stream)),
    );
  if (refusal.refused === 'too-large')
    return batchError(
      'MaximumAppendSizeExceeded',
      new shared.MaximumAppendSizeExceeded().setMaxappendsize(refusal.limit),
    );
  const wrong = new shared.WrongExpectedVersion();
  if (refusal.current === undefined) wrong.setCurrentNoStream(new empty.Empty());
  else wrong.setCurrentStreamRevision(String(refusal.current));
  if (typeof expected === 'bigint') wrong.setExpectedStreamPosition(String(expected));
  else if (expected === 'no-stream') wrong.setExpectedNoStream(new empty.Empty());
  else wrong.setExpectedStreamExists(new empty.Empty());
  return batchError('WrongExpectedVersion', wrong);
}

function batchError(name: string, message: Message): status.Status {
  const details = new any.Any();
  details.pack(message.serializeBinary(), `event_store.client.${name}`);
  return new status.Status().setCode(alreadyExists).setMessage(name).setDetails(details);
}

function notReadyInBatch(): status.Status {
  const details = new any.Any();
  details.pack(new empty.Empty().serializeBinary(), 'google.protobuf.Empty');
  return new status.Status().setMessage('Server Is Not Ready').setDetails(details);
}

export function eventResponse(event: StoredEvent): streams.ReadResp {
  const recorded = new streams.ReadResp.ReadEvent.RecordedEvent();
  recorded.setId(new shared.UUID().setString(event.id));
  recorded.setStreamIdentifier(streamIdentifier(event.stream));
  recorded.setStreamRevision(String(event.revision));
  filled(recorded, event.position);
  recorded.getMetadataMap().set('type', event.type);
  recorded.getMetadataMap().set('content-type', event.contentType);
  // 100-nanosecond ticks since 1970.
  recorded.getMetadataMap().set('created', String(BigInt(event.createdAt) * 10_000n));
  recorded.setCustomMetadata(event.metadata);
  recorded.setData(event.data);
  const resolved = new streams.ReadResp.ReadEvent().setEvent(recorded);
  resolved.setCommitPosition(String(event.position.commit));
  return new streams.ReadResp().setEvent(resolved);
}

export const checkpointResponse = (position: LogPosition): streams.ReadResp =>
  new streams.ReadResp().setCheckpoint(filled(new streams.ReadResp.Checkpoint(), position));

export const caughtUpResponse = (): streams.ReadResp =>
  new streams.ReadResp().setCaughtUp(new streams.ReadResp.CaughtUp());

export const confirmationResponse = (subscriptionId: string): streams.ReadResp =>
  new streams.ReadResp().setConfirmation(
    new streams.ReadResp.SubscriptionConfirmation().setSubscriptionId(subscriptionId),
  );

export const notFoundResponse = (stream: string): streams.ReadResp =>
  new streams.ReadResp().setStreamNotFound(
    new streams.ReadResp.StreamNotFound().setStreamIdentifier(streamIdentifier(stream)),
  );

export const positionIn = (position: streams.ReadReq.Options.Position | undefined): LogPosition => ({
  commit: BigInt(position?.getCommitPosition() ?? 0),
  prepare: BigInt(position?.getPreparePosition() ?? 0),
});

type Positioned = { setCommitPosition(value: string): unknown; setPreparePosition(value: string): unknown };

function filled<Message extends Positioned>(message: Message, { commit, prepare }: LogPosition): Message {
  message.setCommitPosition(String(commit));
  message.setPreparePosition(String(prepare));
  return message;
}
