/**
 * What a parser of Prometheus' text format 0.0.4 refuses: a metric described twice, samples away from their
 * metric's description, a series that is there twice.
 */
export function expositionFaults(text: string): readonly string[] {
  const faults: string[] = [];
  const described = new Set<string>();
  const series = new Set<string>();
  let current = '';
  for (const line of text.split('\n')) {
    const [, keyword, name = ''] = /^# (HELP|TYPE) (\S+)/.exec(line) ?? [];
    if (keyword) {
      if (described.has(`${keyword} ${name}`)) faults.push(`a second ${keyword} of ${name}`);
      described.add(`${keyword} ${name}`);
      current = name;
    } else if (line !== '' && !line.startsWith('#')) {
      const [one = '', sampleName = ''] = /^([^\s{]+)(\{.*\})?(?= )/.exec(line) ?? [];
      if (one === '') faults.push(`no sample: ${line}`);
      if (sampleName.replace(/_(bucket|sum|count)$/, '') !== current && sampleName !== current)
        faults.push(`${sampleName} under ${current}`);
      if (series.has(one)) faults.push(`${one} is there twice`);
      series.add(one);
    }
  }
  return faults;
}
