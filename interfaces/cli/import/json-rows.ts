import { type BrokenRow, greatestRecord, type Row } from './cells.ts';

/** One JSON object a line. Blank lines are no records. */
export async function* ndjsonRows(text: AsyncIterable<string>): AsyncGenerator<Row | BrokenRow> {
  let line = 1;
  let record = '';
  for await (const chunk of text) {
    const parts = chunk.split('\n');
    const last = parts.pop() ?? '';
    for (const part of parts) {
      record = joined(record, part);
      if (record.trim() !== '') yield rowOf(record, line);
      record = '';
      line += 1;
    }
    record = joined(record, last);
  }
  if (record.trim() !== '') yield rowOf(record, line);
}

/** The elements of one JSON array, each read as soon as it is whole. */
export async function* jsonArrayRows(text: AsyncIterable<string>): AsyncGenerator<Row | BrokenRow> {
  const mark = /["\\[\]{},\n]/g;
  let place: 'before' | 'inside' | 'after' = 'before';
  let line = 1;
  let depth = 0;
  let inText = false;
  let element = '';
  let elementLine: number | undefined;
  let skipped = 0;

  for await (const chunk of text) {
    let start = 0;
    mark.lastIndex = skipped;
    skipped = 0;
    for (let found = mark.exec(chunk); found; found = mark.exec(chunk)) {
      const [char] = found;
      if (char === '\n') line += 1;
      else if (inText) {
        if (char === '"') inText = false;
        if (char === '\\') mark.lastIndex += 1;
        if (mark.lastIndex > chunk.length) {
          skipped = 1;
          break;
        }
      } else if (place === 'before') {
        if (char !== '[' || joined(element, chunk.slice(start, found.index)).trim() !== '') continue;
        place = 'inside';
        start = mark.lastIndex;
        element = '';
      } else if (place === 'inside' && depth === 0 && (char === ',' || char === ']')) {
        element = joined(element, chunk.slice(start, found.index));
        if (element.trim() !== '') yield rowOf(element, elementLine ?? line);
        else if (char === ',') yield { line, fault: 'has a comma with nothing before it' };
        start = mark.lastIndex;
        element = '';
        elementLine = undefined;
        if (char === ']') place = 'after';
      } else if (place === 'inside') {
        elementLine ??= line;
        if (char === '"') inText = true;
        else if (char === '[' || char === '{') depth += 1;
        else if (char !== ',') depth = Math.max(0, depth - 1);
      }
    }
    element = joined(element, chunk.slice(start));
  }
  if (place === 'before') yield { line, fault: 'ends the file without an array' };
  else if (place === 'inside') yield { line, fault: 'ends the file before the array ends' };
  else if (element.trim() !== '') yield { line, fault: 'comes after the end of the array' };
}

/** What is cut off here is too long in any case, and is refused as that. */
const joined = (record: string, part: string): string =>
  record.length > greatestRecord ? record : record + part;

function rowOf(record: string, line: number): Row | BrokenRow {
  if (record.length > greatestRecord) return { line, fault: `has more than ${greatestRecord} characters` };
  try {
    const value: unknown = JSON.parse(record);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return { line, values: value as Record<string, unknown> };
    return { line, fault: 'must be a JSON object' };
  } catch (error) {
    return { line, fault: `is not JSON: ${(error as Error).message}` };
  }
}
