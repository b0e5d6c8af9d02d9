import type { Response } from 'express';
import type { z } from 'zod';
import { type HttpProblem, invalidRequest, problemKinds, problemOf, problemType } from '../http/problems.ts';
import type { RequestContext } from '../http/request-context.ts';
import { drained } from '../http/row-stream.ts';
import { newCounts, type RefusedLine, totals } from './counts.ts';
import { type HistoryFile, Importer, openHistory, type Rejects } from './import-file.ts';
import { historyOptions, sendingOptions } from './import-options.ts';
import { type importParameters, inParameters } from './import-schemas.ts';
import type { InputFile } from './input-file.ts';
import { type ImportServices, intakeSink } from './intake-sink.ts';
import { DryRunSink, type ReadingSink } from './reading-sink.ts';
import { RejectLines } from './rejects.ts';
import { dryRunReport, importReport, isWhole } from './report.ts';
import { SeenValues } from './seen-values.ts';
import { UnusableInput } from './unusable-input.ts';

/** Readings sent at a time: small enough for others to have turns. */
const batch = 1000;
/** Refused lines in the report. */
const show = 10;
const progressEvery = 250;
/** Bytes of a file for each value that a row group of Parquet may have, which is in memory as a whole. */
const bytesOfCell = 50;

type Import = {
  readonly services: ImportServices;
  readonly context: RequestContext;
  readonly signal: AbortSignal;
  readonly most: number;
};

/** Imports the file and writes the answer's lines, all but the end. */
export async function importInto(
  res: Response,
  input: InputFile,
  query: z.output<typeof importParameters>,
  { services, context, signal, most }: Import,
): Promise<void> {
  const options = { ...query, batch, show };
  const { sending, history } = await usable(async () => {
    const sending = sendingOptions(options);
    const reading = historyOptions(options);
    const limits = { inflatedBytes: most, groupCells: Math.floor(most / bytesOfCell) };
    const limited = { ...reading, input: { ...reading.input, limits } };
    return { sending, history: await openHistory(input, limited, signal) };
  });
  const sink = query.dryRun ? new DryRunSink() : intakeSink(services, context, signal);
  const answer = new ImportAnswer(res, input, query.rejects);
  try {
    answer.begin();
    await answer.report(sink, history, sending, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    const { caller, route } = context;
    services.log.warn({ correlationId: caller.correlationId, route, err: error }, 'import broke off');
    await answer.fail(error);
  } finally {
    answer.close();
  }
}

async function usable<Result>(read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (error) {
    throw error instanceof UnusableInput ? unusable(error) : error;
  }
}

const unusable = ({ message }: UnusableInput): HttpProblem =>
  invalidRequest([{ in: 'body', path: '', detail: inParameters(message) }]);

/** The lines of one answer. */
class ImportAnswer {
  readonly #res: Response;
  readonly #input: InputFile;
  readonly #counts = newCounts();
  readonly #seen = new SeenValues();
  readonly #rejects: Rejects;
  readonly #started = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(res: Response, input: InputFile, withRejects: boolean) {
    this.#res = res;
    this.#input = input;
    const lines = new RejectLines();
    this.#rejects = {
      write: async (line, row) => {
        if (!withRejects) return;
        for (const json of lines.of(line, row).trimEnd().split('\n')) await this.#write('reject', json);
      },
    };
  }

  begin(): void {
    this.#res.status(200).set({
      'Content-Type': 'application/x-ndjson; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no',
    });
    this.#timer = setInterval(() => {
      if (this.#res.writableNeedDrain) return;
      const { lines, refused } = totals(this.#counts.files);
      const share = this.#input.size > 0 ? this.#input.bytesRead / this.#input.size : 1;
      void this.#write('progress', JSON.stringify({ lines, refused, share }));
    }, progressEvery);
  }

  async report(
    sink: ReadingSink,
    history: HistoryFile,
    sending: ConstructorParameters<typeof Importer>[4],
    signal: AbortSignal,
  ): Promise<void> {
    const counts = this.#counts;
    const importer = new Importer(sink, this.#seen, counts, this.#rejects, sending);
    await importer.importFile(history, signal);
    signal.throwIfAborted();
    const late = await sink.settle();
    const report = importReport(counts, sink.name, performance.now() - this.#started, true, late);
    const {
      files,
      into: _,
      ...totalsOfAll
    } = sink instanceof DryRunSink ? dryRunReport(report, sink) : report;
    const [{ columns = [], leftOut = [], notes = [] } = {}] = files;
    await this.#write(
      'report',
      JSON.stringify({
        ...totalsOfAll,
        whole: isWhole(report),
        notes: notes.map(inParameters),
        leftOut,
        columns: columns.map(explained),
        refusals: report.refusals.map(explained),
      }),
    );
  }

  /** What was sent before is stored, and counted here. */
  async fail(error: unknown): Promise<void> {
    const { kind, message } = error instanceof UnusableInput ? unusable(error) : problemOf(error);
    const { status, title } = problemKinds[kind];
    const { accepted, refused } = totals(this.#counts.files);
    const problem = { type: problemType(kind), title, status, detail: message, accepted, refused };
    await this.#write('problem', JSON.stringify(problem));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#seen.close();
  }

  async #write(event: string, json: string): Promise<void> {
    if (!this.#res.write(`{"event":"${event}","data":${json}}\n`)) await drained(this.#res);
  }
}

const explained = <Line extends { readonly reason?: string } | RefusedLine>(line: Line): Line =>
  line.reason === undefined ? line : { ...line, reason: inParameters(line.reason) };
