import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import type { ServerUnaryCall, StatusObject } from '@grpc/grpc-js';
import { refusedDelete, streamDeleted, tooLarge } from './failures.ts';
import {
  appendResponse,
  batchResponse,
  deleteResponse,
  expectedVersion,
  proposedEvent,
  streamName,
} from './messages.ts';
import type { AppendOutcome, ExpectedVersion, LogPosition, ProposedEvent } from './model/events.ts';
import type { Node } from './node.ts';

/** Streams/Append: one append a call, its events one message each. */
export const appendCall =
  (node: Node): IStreamsServer['append'] =>
  (call, answer) => {
    let options: streams.AppendReq.Options | undefined;
    const events: ProposedEvent[] = [];
    call.on('data', (request: streams.AppendReq) => {
      options ??= request.getOptions();
      const message = request.getProposedMessage();
      if (message) events.push(proposedEvent(message));
    });
    call.on('end', async () => {
      if (node.faults.ignores(call) || !options) return;
      await node.faults.running();
      const stream = streamName(options.getStreamIdentifier());
      const refusal = node.faults.refusal ?? node.refusedWrite(call, 'write', stream);
      if (refusal) return answer(refusal);
      const expected = expectedVersion(options);
      const outcome = node.store.append(stream, expected, events);
      if (await node.faults.holdsBack()) return;
      if (!('refused' in outcome) || outcome.refused === 'wrong-expected-version')
        return answer(null, appendResponse(outcome, expected));
      answer(outcome.refused === 'too-large' ? tooLarge(outcome.limit) : streamDeleted(outcome.stream));
    });
    call.on('error', () => undefined);
  };

/** Streams/BatchAppend: many appends a call, each answered by its correlation id. */
export const batchAppendCall =
  (node: Node): IStreamsServer['batchAppend'] =>
  (call) => {
    const pending = new Map<string, { options: streams.BatchAppendReq.Options; events: ProposedEvent[] }>();
    const outcomeOf = ({
      options,
      events,
    }: {
      options: streams.BatchAppendReq.Options;
      events: ProposedEvent[];
    }) => {
      const stream = streamName(options.getStreamIdentifier());
      const refusal = node.refusedWrite(call, 'write', stream);
      if (!refusal) return node.store.append(stream, expectedVersion(options), events);
      // Where the leader is to be asked for, the whole call fails, and with it all that was appended by it.
      if (refusal.metadata.get('exception')[0] === 'not-leader') call.emit('error', refusal);
      return refusal.metadata.get('exception')[0] === 'access-denied' ? 'access-denied' : 'not-ready';
    };
    call.on('data', async (request: streams.BatchAppendReq) => {
      if (node.faults.ignores(call)) return;
      const correlationId = request.getCorrelationId()?.getString() ?? '';
      const options = request.getOptions();
      if (options) pending.set(correlationId, { options, events: [] });
      const append = pending.get(correlationId);
      if (!append) return;
      append.events.push(...request.getProposedMessagesList().map(proposedEvent));
      if (!request.getIsFinal()) return;
      pending.delete(correlationId);

      await node.faults.running();
      const outcome = outcomeOf(append);
      if (await node.faults.holdsBack()) return;
      const response = batchResponse(outcome, expectedVersion(append.options));
      response.setCorrelationId(request.getCorrelationId());
      response.setStreamIdentifier(append.options.getStreamIdentifier());
      if (!call.cancelled) call.write(response);
    });
    call.on('end', () => call.end());
    call.on('error', () => undefined);
  };

/** Streams/Delete: a soft delete. */
export const deleteCall =
  (node: Node): IStreamsServer['delete'] =>
  async (call, answer) => {
    const outcome = await deletion(node, call, (stream, expected) => node.store.softDelete(stream, expected));
    if (outcome === 'ignored') return;
    if ('code' in outcome) answer(outcome);
    else answer(null, deleteResponse(new streams.DeleteResp(), outcome.position));
  };

/** Streams/Tombstone: a delete for ever. */
export const tombstoneCall =
  (node: Node): IStreamsServer['tombstone'] =>
  async (call, answer) => {
    const outcome = await deletion(node, call, (stream, expected) => node.store.tombstone(stream, expected));
    if (outcome === 'ignored') return;
    if ('code' in outcome) answer(outcome);
    else answer(null, deleteResponse(new streams.TombstoneResp(), outcome.position));
  };

type DeleteRequest = streams.DeleteReq | streams.TombstoneReq;

async function deletion(
  node: Node,
  call: ServerUnaryCall<DeleteRequest, unknown>,
  remove: (stream: string, expected: ExpectedVersion) => AppendOutcome,
): Promise<StatusObject | { readonly position: LogPosition | undefined } | 'ignored'> {
  const options = call.request.getOptions();
  if (node.faults.ignores(call) || !options) return 'ignored';
  await node.faults.running();
  const stream = streamName(options.getStreamIdentifier());
  const refusal = node.refusedWrite(call, 'delete', stream);
  if (refusal) return refusal;
  const expected = expectedVersion(options);
  const outcome = remove(stream, expected);
  return 'refused' in outcome ? refusedDelete(stream, expected, outcome) : outcome;
}
