import { existsSync } from 'node:fs';
import { type FileHandle, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { Point } from '../../../application/ports/queries.ts';
import { pointShape } from '../../http/telemetry-schemas.ts';
import { UsageError } from '../exit-codes.ts';
import { unwritable } from '../terminal.ts';
import { writeParquet } from './parquet-file.ts';
import type { ExportPlace } from './point-source.ts';

export const exportFormats = ['csv', 'ndjson', 'parquet'] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** What a later run needs to continue: what was asked for, how far the file is good, and where the next point comes from. */
type Progress = {
  readonly query: string;
  readonly bytes: number;
  readonly points: number;
  readonly place: ExportPlace | null;
};

/** Points as lines of text; Parquet is made of NDJSON once all points are there. */
export function lineWriter(format: ExportFormat): { readonly header: string; line(point: Point): string } {
  const { columns, csv, json } = pointShape(true);
  return format === 'csv'
    ? { header: `${columns.join(',')}\r\n`, line: (point) => `${csv(point)}\r\n` }
    : { header: '', line: (point) => `${json(point)}\n` };
}

/** As much text is gathered before it is written and the place noted. */
const writeAt = 1_048_576;

type Start = { readonly query: unknown; readonly resume: boolean; readonly force: boolean };

/**
 * A file that is never half there: it grows as `FILE.part`, with the place of the next point in `FILE.part.json`, and gets
 * its name when it is whole. A run that was stopped, however, is continued from the last place noted.
 */
export class ExportFile {
  readonly #path: string;
  readonly #format: ExportFormat;
  readonly #handle: FileHandle;
  readonly #line: (point: Point) => string;
  #progress: Progress;
  #text = '';
  #waiting = 0;

  private constructor(path: string, format: ExportFormat, handle: FileHandle, progress: Progress) {
    this.#path = path;
    this.#format = format;
    this.#handle = handle;
    this.#progress = progress;
    const { header, line } = lineWriter(format);
    this.#line = line;
    if (progress.bytes === 0) this.#text = header;
  }

  /** Throws `UsageError` where a file is in the way, or there is none to resume that was made by the same query. */
  static async open(
    path: string,
    format: ExportFormat,
    { query, resume, force }: Start,
  ): Promise<ExportFile> {
    if (existsSync(path) && !force)
      throw new UsageError(`${path} is there already: name another file, or overwrite it with --force`);
    const asked = JSON.stringify(query);
    const begun = existsSync(`${path}.part.json`) && existsSync(`${path}.part`);
    if (begun && !resume && !force)
      throw new UsageError(
        `${path}.part is of an export that was stopped: --resume continues it, --force begins anew`,
      );
    if (!begun && !force && (await hasContent(`${path}.part`)))
      throw new UsageError(
        `${path}.part is there already, and no note of an export: name another file, or overwrite it with --force`,
      );
    const progress: Progress =
      resume && begun ? await progressOf(path, asked) : { query: asked, bytes: 0, points: 0, place: null };
    const handle = await open(`${path}.part`, 'a').catch((error) => {
      throw unwritable(`${path}.part`, error);
    });
    await handle.truncate(progress.bytes);
    return new ExportFile(path, format, handle, progress);
  }

  /** Where to continue; `undefined` at the beginning. */
  get place(): ExportPlace | undefined {
    return this.#progress.place ?? undefined;
  }

  /** Those in the file, from earlier runs too. */
  get written(): number {
    return this.#progress.points;
  }

  /** With those that are about to be written. */
  get points(): number {
    return this.written + this.#waiting;
  }

  async add(points: readonly Point[], place: ExportPlace): Promise<void> {
    for (const point of points) this.#text += this.#line(point);
    this.#waiting += points.length;
    if (this.#text.length >= writeAt) await this.#write(place);
  }

  /** Gives the file its name, with all that was added. Throws `OutputFailed`. */
  async finish(): Promise<void> {
    await this.#write(this.place ?? { scope: 0 });
    await this.#writing(async () => {
      const part = `${this.#path}.part`;
      if (this.#format === 'parquet') {
        await writeParquet(part, `${part}.parquet`);
        await rename(`${part}.parquet`, this.#path);
        await rm(part);
      } else await rename(part, this.#path);
      await rm(`${part}.json`, { force: true });
    });
    await this.#handle.close();
  }

  /** Leaves what is there for a later run. */
  async abandon(): Promise<void> {
    await this.#handle.close();
  }

  /** The place is noted once the text before it is on disk: what is behind it is cut off when the export continues. */
  async #write(place: ExportPlace): Promise<void> {
    const bytes = Buffer.from(this.#text);
    const { bytes: at, points, query } = this.#progress;
    const progress = { query, bytes: at + bytes.length, points: points + this.#waiting, place };
    await this.#writing(async () => {
      await this.#handle.appendFile(bytes);
      await this.#handle.datasync();
      const note = `${this.#path}.part.json`;
      await writeFile(`${note}.new`, JSON.stringify(progress));
      await rename(`${note}.new`, note);
    });
    this.#progress = progress;
    this.#text = '';
    this.#waiting = 0;
  }

  async #writing(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      throw unwritable(this.#path, error as NodeJS.ErrnoException);
    }
  }
}

const hasContent = (path: string): Promise<boolean> =>
  stat(path).then(
    ({ size }) => size > 0,
    () => false,
  );

async function progressOf(path: string, query: string): Promise<Progress> {
  const progress = JSON.parse(await readFile(`${path}.part.json`, 'utf8')) as Progress;
  if (progress.query === query) return progress;
  throw new UsageError(
    `${path}.part is of another export (${progress.query}): --resume needs the same options, --force begins anew`,
  );
}
