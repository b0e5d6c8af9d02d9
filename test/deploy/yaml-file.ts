import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CORE_SCHEMA, loadAll, mergeTag, Schema } from 'js-yaml';

export const root = path.resolve(import.meta.dirname, '../..');

// YAML 1.2 with the merge keys of 1.1, which is how Compose reads its file.
const schema = new Schema([...CORE_SCHEMA.tags, mergeTag]);

/** The documents of a YAML file of this repository. A key given twice is an error. */
export function yamlDocuments(file: string): readonly unknown[] {
  return loadAll(readFileSync(path.join(root, file), 'utf8'), { schema, filename: file });
}

/** The only document of a file. Whoever reads it says by `T` what they expect, and checks it by using it. */
export function yamlFile<T>(file: string): T {
  const [document, ...more] = yamlDocuments(file);
  if (more.length > 0) throw new Error(`${file} has more than one document`);
  return document as T;
}
