import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseSync } from '@swc/core';

/** An exported name: where it is declared, and which files import it. Names are of values and types alike. */
export type ExportedName = {
  readonly name: string;
  /** Path of the declaration, from the root. */
  readonly file: string;
  readonly importers: ReadonlySet<string>;
};

type Node = Readonly<Record<string, unknown>>;

type Module = {
  readonly declared: ReadonlySet<string>;
  /** By the name that is exported: the same or another name of another module. */
  readonly reexported: ReadonlyMap<string, { readonly from: string; readonly name: string }>;
  readonly imported: readonly { readonly from: string; readonly name: string }[];
};

/** Stands for all names of a module, where those that are used cannot be seen. */
const every = '*';

/**
 * Every name that `exporters` export, with those of `importers` that import it. A re-export counts to the declaration.
 * Paths are from `root`. Throws where a file exports what is not understood here.
 */
export function exportedNames(
  root: string,
  exporters: readonly string[],
  importers: readonly string[],
): readonly ExportedName[] {
  const modules = new Map([...exporters, ...importers].map((file) => [file, moduleOf(root, file)]));
  const found = new Map<string, { readonly name: string; readonly file: string; importers: Set<string> }>();
  for (const file of exporters)
    for (const name of modules.get(file)?.declared ?? [])
      found.set(`${file} ${name}`, { name, file, importers: new Set() });
  for (const [importer, { imported }] of modules)
    for (const { from, name } of imported) note(importer, from, name);
  return [...found.values()];

  function note(importer: string, from: string, name: string): void {
    const { declared, reexported } = modules.get(from) ?? {};
    if (name === every) {
      for (const one of [...(declared ?? []), ...(reexported?.keys() ?? [])]) note(importer, from, one);
      return;
    }
    const origin = reexported?.get(name);
    if (origin) note(importer, origin.from, origin.name);
    else if (importer !== from) found.get(`${from} ${name}`)?.importers.add(importer);
  }
}

function moduleOf(root: string, file: string): Module {
  const declared = new Set<string>();
  const reexported = new Map<string, { from: string; name: string }>();
  const imported: { from: string; name: string }[] = [];
  const resolve = (source: unknown) => {
    const { value } = source as { value: string };
    return value.startsWith('.') ? path.join(path.dirname(file), value) : undefined;
  };
  const text = readFileSync(path.join(root, file), 'utf8');
  const { body } = parseSync(text, { syntax: 'typescript' });
  for (const statement of body as unknown as readonly Node[]) {
    switch (statement.type) {
      case 'ImportDeclaration': {
        const from = resolve(statement.source);
        if (from === undefined) break;
        for (const specifier of statement.specifiers as readonly Node[])
          imported.push({ from, name: importedName(specifier) });
        break;
      }
      case 'ExportDeclaration':
        for (const name of declaredNames(statement.declaration as Node)) declared.add(name);
        break;
      case 'ExportNamedDeclaration': {
        const from = statement.source ? resolve(statement.source) : file;
        for (const { orig, exported } of statement.specifiers as readonly {
          orig: Node;
          exported: Node | null;
        }[]) {
          const name = textOf(exported ?? orig);
          if (from === file) declared.add(name);
          else if (from !== undefined) reexported.set(name, { from, name: textOf(orig) });
        }
        break;
      }
      default:
        if (String(statement.type).startsWith('Export'))
          throw new Error(`${file}: ${statement.type} gives no names; export them one by one`);
    }
  }
  for (const { source, name } of text.includes('import(') ? lateImports(body) : []) {
    const from = resolve(source);
    if (from !== undefined) imported.push({ from, name });
  }
  return { declared, reexported, imported };
}

function importedName(specifier: Node): string {
  if (specifier.type === 'ImportNamespaceSpecifier') return every;
  return textOf((specifier.imported ?? specifier.local) as Node);
}

const textOf = (node: Node): string => String(node.value);

function declaredNames(declaration: Node): readonly string[] {
  if (declaration.type !== 'VariableDeclaration')
    return [textOf((declaration.identifier ?? declaration.id) as Node)];
  return (declaration.declarations as readonly { id: Node }[]).map(({ id }) => {
    if (id.type !== 'Identifier')
      throw new Error('An exported pattern is not understood; export each name by itself');
    return textOf(id);
  });
}

/** `import('…')` within code and types, with the name that is taken of it where that stands beside it. */
function* lateImports(node: unknown): Generator<{ readonly source: unknown; readonly name: string }> {
  if (typeof node !== 'object' || node === null) return;
  if (Array.isArray(node)) {
    for (const one of node) yield* lateImports(one);
    return;
  }
  const { type, object, property, id, init } = node as Record<string, Node | undefined> & { type?: unknown };
  const source = importCall(
    type === 'MemberExpression' ? object : type === 'VariableDeclarator' ? init : undefined,
  );
  if (source && type === 'MemberExpression' && property?.type === 'Identifier') {
    yield { source, name: textOf(property) };
    return;
  }
  if (source && id?.type === 'ObjectPattern') {
    for (const { key } of id.properties as readonly { key: Node }[]) yield { source, name: textOf(key) };
    return;
  }
  if (type === 'TsImportType') {
    const { argument, qualifier } = node as Record<string, Node | undefined>;
    yield { source: argument, name: qualifier?.type === 'Identifier' ? textOf(qualifier) : every };
    return;
  }
  const whole = importCall(node as Node);
  if (whole) yield { source: whole, name: every };
  else for (const one of Object.values(node)) yield* lateImports(one);
}

/** What `import(…)` imports, also within `await` and parentheses. */
function importCall(node: Node | undefined): unknown {
  if (node?.type === 'ParenthesisExpression') return importCall(node.expression as Node);
  if (node?.type === 'AwaitExpression') return importCall(node.argument as Node);
  if (node?.type !== 'CallExpression' || (node.callee as Node).type !== 'Import') return undefined;
  const [first] = node.arguments as readonly { expression: Node }[];
  return first?.expression.type === 'StringLiteral' ? first.expression : undefined;
}
