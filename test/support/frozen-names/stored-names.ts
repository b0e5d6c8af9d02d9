import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { eventRegistry } from '../../../infrastructure/event-registry.ts';
import { fieldsOf, fieldsOfText, formOf } from './json-fields.ts';

type Row = Readonly<Record<string, unknown>>;

/** Columns whose values are names. */
const named = new Set(['projection', 'status', 'cause', 'event', 'event_type']);

/** Files, tables, views, their columns and indexes, and the fields of the JSON in them. */
export function storedNames(dataDir: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const file of readdirSync(dataDir).filter((name) => name.endsWith('.db'))) {
    names.add(file);
    const db = new DatabaseSync(path.join(dataDir, file), { readOnly: true });
    const things = db
      .prepare("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
      .all();
    for (const { type, name } of things) {
      const thing = thingName(file, String(type), String(name));
      names.add(thing);
      if (type === 'index') continue;
      for (const column of db.prepare('SELECT name FROM pragma_table_info(?)').all(String(name)))
        names.add(`${thing} column ${column.name}`);
      if (type === 'table')
        for (const row of db.prepare(`SELECT * FROM ${name}`).all())
          for (const found of rowNames(row)) names.add(`${thing} column ${found}`);
    }
    db.close();
  }
  return names;
}

/** A table, view or index; the tables of all generations are one. */
export const thingName = (file: string, type: string, name: string): string =>
  `${file} ${type} ${name.replace(/_g\d+$/, '_g#')}`;

/** An event's data and metadata are listed with the events. */
const rowNames = ({ data: _, metadata: __, body: ___, ...row }: Row): readonly string[] =>
  Object.entries(row).flatMap(([column, value]) => [
    ...fieldsOfText(value).map((field) => `${column} field ${field}`),
    ...(named.has(column) && typeof value === 'string' && !/\d{4}/.test(value)
      ? [`${column} value ${value}`]
      : []),
  ]);

/** Types and versions of events, their fields and those of what is around them, and the form of streams. */
export function eventNames(dataDir: string): ReadonlySet<string> {
  const names = new Set<string>();
  const rowsOf = (file: string, select: string): readonly Row[] => {
    const db = new DatabaseSync(path.join(dataDir, file), { readOnly: true });
    const rows = db.prepare(select).all();
    db.close();
    return rows;
  };
  for (const { stream, type, data, metadata } of rowsOf('events.db', 'SELECT * FROM events')) {
    for (const name of storedEventNames(String(stream), String(type), parsed(data), parsed(metadata)))
      names.add(name);
  }
  for (const { body } of rowsOf('telemetry.db', 'SELECT body FROM batches')) {
    const { events, ...said } = parsed(body);
    const event = `${said.type} version ${said.schemaVersion}`;
    for (const name of fieldsOf(said)) names.add(`publication ${name}`);
    names.add('publication events').add(event);
    for (const name of fieldsOf(events)) names.add(`${event} stored field ${name.slice('[].'.length)}`);
  }
  for (const name of readNames()) names.add(name);
  return names;
}

/** One event of a stream, as any store has it. */
export function storedEventNames(stream: string, type: string, data: Row, metadata: Row): readonly string[] {
  const event = `${type} version ${metadata.schemaVersion}`;
  return [
    `stream ${formOf(stream)}`,
    event,
    ...fieldsOf(data).map((name) => `${event} stored field ${name}`),
    ...fieldsOf(metadata).map((name) => `metadata ${name}`),
  ];
}

// biome-ignore lint/suspicious/noExplicitAny: as it is stored.
const parsed = (text: unknown): any => JSON.parse(String(text));

type Fixture = {
  readonly log: 'devices' | 'telemetry';
  readonly event: {
    readonly type: string;
    readonly data: Row;
    readonly schemaVersion?: number;
    readonly metadata?: { readonly schemaVersion: number };
  };
};

/** Every field of every shape that can be read, and whether an event must have it: tried on events that have it. */
function readNames(): ReadonlySet<string> {
  const folder = path.resolve(import.meta.dirname, '../../fixtures/events');
  const required = new Map<string, boolean>();
  for (const file of readdirSync(folder)) {
    const fixture: Fixture = JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
    const { type, data, schemaVersion, metadata } = fixture.event;
    const event = `${type} version ${schemaVersion ?? metadata?.schemaVersion}`;
    const read = Object.keys(readBy(fixture, data) ?? {});
    for (const field of Object.keys(data).filter((name) => read.includes(name))) {
      const { [field]: _, ...rest } = data;
      required.set(`${event} read field ${field}`, readBy(fixture, rest) === undefined);
    }
  }
  return new Set(
    [...required].map(([name, isRequired]) => `${name}, ${isRequired ? 'required' : 'optional'}`),
  );
}

/** The data the registry reads, `undefined` when it refuses them. */
function readBy({ log, event }: Fixture, data: Row): Row | undefined {
  try {
    const read = log === 'devices' ? 'deviceEvent' : 'telemetryEvent';
    return eventRegistry[read]({ ...event, data } as never).data;
  } catch {
    return undefined;
  }
}
