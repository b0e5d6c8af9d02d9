import shared from '@eventstore/db-client/generated/shared_pb.js';
import status from '@eventstore/db-client/generated/status_pb.js';
import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import any from 'google-protobuf/google/protobuf/any_pb.js';
import empty from 'google-protobuf/google/protobuf/empty_pb.js';
import type { AppendOutcome, EventLog, ExpectedVersion, ProposedEvent } from './event-log.ts';
import type { Faults } from './faults.ts';

const alreadyExists = 6;

type ProposedMessage = streams.AppendReq.ProposedMessage | streams.BatchAppendReq.ProposedMessage;
type Conflict = Extract<AppendOutcome, { wrongExpectedVersion: true }>;

/** Streams/Append: one append a call, its events one message each. */
export const appendCall =
  (log: EventLog, faults: Faults): IStreamsServer['append'] =>
  (call, answer) => {
    let options: streams.AppendReq.Options | undefined;
    const events: ProposedEvent[] = [];
    call.on('data', (request: streams.AppendReq) => {
      options ??= request.getOptions();
      const message = request.getProposedMessage();
      if (message) events.push(proposed(message));
    });
    call.on('end', async () => {
      if (faults.ignores(call) || !options) return;
      if (faults.refusal) return answer(faults.refusal);
      const expected = options.hasRevision() ? BigInt(options.getRevision()) : namedVersion(options);
      const outcome = log.append(streamName(options.getStreamIdentifier()), expected, events);
      if (await faults.holdsBack()) return;
      answer(null, appendResponse(outcome, expected));
    });
    call.on('error', () => undefined);
  };

/** Streams/BatchAppend: many appends a call, each told by its correlation id. */
export const batchAppendCall =
  (log: EventLog, faults: Faults): IStreamsServer['batchAppend'] =>
  (call) => {
    const pending = new Map<string, { options: streams.BatchAppendReq.Options; events: ProposedEvent[] }>();
    call.on('data', async (request: streams.BatchAppendReq) => {
      if (faults.ignores(call)) return;
      const correlationId = request.getCorrelationId()?.getString() ?? '';
      const options = request.getOptions();
      if (options) pending.set(correlationId, { options, events: [] });
      const append = pending.get(correlationId);
      if (!append) return;
      append.events.push(...request.getProposedMessagesList().map(proposed));
      if (!request.getIsFinal()) return;
      pending.delete(correlationId);

      const expected = append.options.hasStreamPosition()
        ? BigInt(append.options.getStreamPosition())
        : namedVersion(append.options);
      const stream = append.options.getStreamIdentifier();
      const outcome = log.append(streamName(stream), expected, append.events);
      if (await faults.holdsBack()) return;
      const response = new streams.BatchAppendResp();
      response.setCorrelationId(request.getCorrelationId());
      response.setStreamIdentifier(stream);
      if ('wrongExpectedVersion' in outcome) response.setError(batchError(outcome, expected));
      else response.setSuccess(batchSuccess(outcome));
      if (!call.cancelled) call.write(response);
    });
    call.on('end', () => call.end());
    call.on('error', () => undefined);
  };

const streamName = (identifier: shared.StreamIdentifier | undefined): string =>
  Buffer.from(identifier?.getStreamName_asU8() ?? []).toString('utf8');

const namedVersion = (options: {
  hasNoStream(): boolean;
  hasStreamExists(): boolean;
}): Exclude<ExpectedVersion, bigint> =>
  options.hasNoStream() ? 'no-stream' : options.hasStreamExists() ? 'stream-exists' : 'any';

const proposed = (message: ProposedMessage): ProposedEvent => ({
  id: message.getId()?.getString() ?? '',
  type: message.getMetadataMap().get('type') ?? '',
  contentType: message.getMetadataMap().get('content-type') ?? '',
  data: message.getData_asU8(),
  metadata: message.getCustomMetadata_asU8(),
});

function appendResponse(outcome: AppendOutcome, expected: ExpectedVersion): streams.AppendResp {
  const response = new streams.AppendResp();
  if ('wrongExpectedVersion' in outcome) {
    const wrong = new streams.AppendResp.WrongExpectedVersion();
    if (outcome.current === undefined) wrong.setCurrentNoStream(new shared.Empty());
    else wrong.setCurrentRevision(String(outcome.current));
    if (typeof expected === 'bigint') wrong.setExpectedRevision(String(expected));
    else if (expected === 'no-stream') wrong.setExpectedNoStream(new shared.Empty());
    else wrong.setExpectedStreamExists(new shared.Empty());
    response.setWrongExpectedVersion(wrong);
    return response;
  }
  const success = new streams.AppendResp.Success();
  success.setCurrentRevision(String(outcome.revision));
  if (outcome.position) {
    const position = new streams.AppendResp.Position();
    position.setCommitPosition(String(outcome.position.commit));
    position.setPreparePosition(String(outcome.position.prepare));
    success.setPosition(position);
  } else success.setNoPosition(new shared.Empty());
  response.setSuccess(success);
  return response;
}

function batchSuccess(
  outcome: Exclude<AppendOutcome, Conflict>,
): InstanceType<typeof streams.BatchAppendResp.Success> {
  const success = new streams.BatchAppendResp.Success();
  success.setCurrentRevision(String(outcome.revision));
  if (outcome.position) {
    const position = new shared.AllStreamPosition();
    position.setCommitPosition(String(outcome.position.commit));
    position.setPreparePosition(String(outcome.position.prepare));
    success.setPosition(position);
  } else success.setNoPosition(new empty.Empty());
  return success;
}

function batchError(outcome: Conflict, expected: ExpectedVersion): status.Status {
  const wrong = new shared.WrongExpectedVersion();
  if (outcome.current === undefined) wrong.setCurrentNoStream(new empty.Empty());
  else wrong.setCurrentStreamRevision(String(outcome.current));
  if (typeof expected === 'bigint') wrong.setExpectedStreamPosition(String(expected));
  else if (expected === 'no-stream') wrong.setExpectedNoStream(new empty.Empty());
  else wrong.setExpectedStreamExists(new empty.Empty());
  const details = new any.Any();
  details.pack(wrong.serializeBinary(), 'event_store.client.WrongExpectedVersion');
  const error = new status.Status();
  error.setCode(alreadyExists);
  error.setMessage('WrongExpectedVersion');
  error.setDetails(details);
  return error;
}
