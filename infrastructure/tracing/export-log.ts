import { DiagLogLevel, diag } from '@opentelemetry/api';
import { ExportResultCode } from '@opentelemetry/core';
import type { SpanExporter } from '@opentelemetry/sdk-trace';
import type { Log } from '../../application/ports/system.ts';

const tellEvery = 60_000;

export type ExportLog = {
  /** The exporter, with an eye on what it loses. */
  over(exporter: SpanExporter): SpanExporter;
  /** Tells of what was lost since it last told. */
  tellRest(): void;
};

/**
 * Tells the log, once a minute at most, that spans were lost and how many since it last did. What the SDK drops before
 * they come to the exporter, because that falls behind, is told the same way.
 */
export function exportLog(log: Pick<Log, 'warn'>): ExportLog {
  const failed = seldom((lost, err) => log.warn({ lost, err }, 'Spans could not be exported'));
  const warned = seldom((times, detail) => log.warn({ times, detail }, 'The exporter of spans warns'));
  const nothing = () => {};
  diag.setLogger(
    {
      warn: (...told) => warned.add(1, told.map(String).join(' ')),
      // Failed exports again, this time without their number.
      error: nothing,
      info: nothing,
      debug: nothing,
      verbose: nothing,
    },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );

  return {
    over: (exporter) => ({
      export(spans, done) {
        exporter.export(spans, (result) => {
          if (result.code !== ExportResultCode.SUCCESS) failed.add(spans.length, result.error);
          done(result);
        });
      },
      shutdown: () => exporter.shutdown(),
    }),
    tellRest() {
      failed.tell();
      warned.tell();
    },
  };
}

function seldom(told: (count: number, what: unknown) => void) {
  let count = 0;
  let last: unknown;
  let toldAt = Number.NEGATIVE_INFINITY;
  return { add, tell };

  function add(more: number, what: unknown): void {
    count += more;
    last = what;
    if (performance.now() - toldAt >= tellEvery) tell();
  }

  function tell(): void {
    if (count === 0) return;
    toldAt = performance.now();
    told(count, last);
    count = 0;
  }
}
