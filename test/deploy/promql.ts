/** What an expression of Prometheus's query language names. */
export type Named = { readonly metrics: readonly string[]; readonly labels: readonly string[] };

const keywords = new Set(['and', 'or', 'unless', 'offset', 'bool']);

/** Enough of the language for the expressions in deploy/; promtool tells whether they are right. */
export function namedIn(expression: string): Named {
  const labels = new Set<string>();
  const rest = expression
    .replaceAll(/\{([^}]*)\}/g, (_, matchers: string) => {
      for (const [, label = ''] of matchers.replaceAll(/"[^"]*"/g, '""').matchAll(/(\w+)\s*[=!]/g))
        labels.add(label);
      return ' ';
    })
    .replaceAll(/\b(?:by|on)\s*\(([^)]*)\)/g, (_, list: string) => {
      for (const label of list.split(',')) labels.add(label.trim());
      return ' ';
    })
    .replaceAll(/\[[^\]]*\]|\boffset\s+\w+/g, ' ');
  const metrics = [...rest.matchAll(/(?<![\w:.])([a-zA-Z_:][\w:]*)\b(?!\s*\()/g)].map(
    ([, name = '']) => name,
  );
  return { metrics: [...new Set(metrics.filter((name) => !keywords.has(name)))], labels: [...labels] };
}
