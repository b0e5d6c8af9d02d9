import type { Terminal } from './terminal.ts';

/** Shows `line` again and again until the answer is called: in place on a terminal, now and then elsewhere. */
export function showProgress(terminal: Terminal, line: () => string): () => void {
  const show = terminal.live ? terminal.status : terminal.note;
  const timer = setInterval(() => show(line()), terminal.live ? 200 : 10_000);
  return () => {
    clearInterval(timer);
    terminal.status('');
  };
}
