import type { Sampler } from '@opentelemetry/sdk-trace';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';

/** By the names that `OTEL_TRACES_SAMPLER` has for them. */
export type SamplerName =
  | 'always_on'
  | 'always_off'
  | 'traceidratio'
  | 'parentbased_always_on'
  | 'parentbased_always_off'
  | 'parentbased_traceidratio';

/** Which spans are recorded; `ratio` is of the traces that begin here, for the samplers that take one. */
export function samplerOf(name: SamplerName, ratio: number): Sampler {
  if (name === 'always_off') return new AlwaysOffSampler();
  return linked(plain(name, ratio));
}

function plain(name: Exclude<SamplerName, 'always_off'>, ratio: number): Sampler {
  switch (name) {
    case 'always_on':
      return new AlwaysOnSampler();
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(ratio);
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) });
  }
}

/**
 * A span with links is that of a batch with events of recorded traces. It begins a trace of its own, and were it left
 * to chance like others, hardly any recorded trace could be followed to its rows.
 */
const linked = (sampler: Sampler): Sampler => ({
  shouldSample: (context, traceId, name, kind, attributes, links) =>
    links.length > 0
      ? { decision: SamplingDecision.RECORD_AND_SAMPLED }
      : sampler.shouldSample(context, traceId, name, kind, attributes, links),
  toString: () => `Linked{${sampler}}`,
});
