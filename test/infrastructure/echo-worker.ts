import { ReplayRefused } from '../../application/ports/generations.ts';
import { WorkerEndpoint } from '../../infrastructure/worker-channel.ts';

export type EchoRequest =
  | { readonly do: 'echo'; readonly text: string }
  | { readonly do: 'refuse'; readonly message: string }
  | { readonly do: 'fail' | 'next' | 'made' | 'throw' }
  | { readonly do: 'until-closed' };

class Unlisted extends Error {
  override readonly name = 'Unlisted';
}

const thread = new WorkerEndpoint<EchoRequest, unknown, string>('closed by the test');
let made = 0;
const items = (function* () {
  while (made < 3) {
    made += 1;
    yield made;
  }
})();

thread.serve(async (request) => {
  switch (request.do) {
    case 'echo':
      thread.notify(`heard ${request.text}`);
      return request.text;
    case 'refuse':
      throw new ReplayRefused(request.message, { cause: new TypeError('the cause') });
    case 'fail':
      throw Object.assign(new Unlisted('no class of the list'), { code: 7, port: process });
    case 'next':
      return items.next();
    case 'made':
      return made;
    case 'until-closed':
      await new Promise((resolve) => thread.closing.addEventListener('abort', resolve));
      return (thread.closing.reason as Error).message;
    case 'throw':
      setImmediate(() => {
        throw new Error('the thread died');
      });
      return new Promise(() => {});
  }
});
await thread.closed;
thread.end();
