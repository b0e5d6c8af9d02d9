import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { hookSender } from '../../infrastructure/hook-sender.ts';
import { hookReceiver } from '../support/hook-receiver.ts';

type Receiver = Awaited<ReturnType<typeof hookReceiver>>;

const never = new AbortController().signal;
const secret = `whsec_${Buffer.from('not a secret, but 24 byte').toString('base64')}`;
const requestTo = (url: string) => ({
  url,
  secret,
  id: 'e-1',
  timestamp: 1_790_000_000,
  contentType: 'application/cloudevents+json',
  body: '{"a":"ä"}',
});

describe('Sender to hooks', () => {
  const open: Receiver[] = [];
  const receiver = async (...args: Parameters<typeof hookReceiver>) => {
    const one = await hookReceiver(...args);
    open.push(one);
    return one;
  };
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  it('posts what is signed as Standard Webhooks say', async () => {
    const { url, received } = await receiver();
    const answer = await hookSender(['127.0.0.1']).post(requestTo(url), never);
    assert.deepEqual(answer, { is: 'answered', status: 204, retryAfter: undefined });
    const [one] = received;
    assert.ok(one);
    const { headers, body } = one;
    assert.equal(body, '{"a":"ä"}');
    assert.equal(headers['content-type'], 'application/cloudevents+json');
    assert.deepEqual([headers['webhook-id'], headers['webhook-timestamp']], ['e-1', '1790000000']);
    const expected = createHmac('sha256', 'not a secret, but 24 byte')
      .update('e-1.1790000000.{"a":"ä"}')
      .digest('base64');
    assert.equal(headers['webhook-signature'], `v1,${expected}`);
  });

  const inner = [
    '127.0.0.1',
    '127.9.9.9',
    '0.0.0.0',
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'fc00::1',
    'fd12:3456::1',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '::127.0.0.1',
    '::7f00:1',
    '4000::1',
    '64:ff9b::a00:1',
    '2002:7f00:1::1',
  ];

  it('refuses inner addresses, however they are written, before a request is made', async () => {
    const sender = hookSender([]);
    for (const address of inner) {
      const url = `http://${address.includes(':') ? `[${address}]` : address}/`;
      const answer = await sender.post(requestTo(url), never);
      assert.equal(answer.is, 'refused', address);
      assert.match(sender.faultOf(url) ?? '', /not a public address.*HOOKS_ALLOW/, address);
    }
    for (const url of ['http://2130706433/', 'http://0x7f.1/', 'http://localhost/', 'http://a.localhost./'])
      assert.equal((await sender.post(requestTo(url), never)).is, 'refused', url);
    assert.equal(sender.faultOf('https://hooks.example/'), undefined);
    assert.equal(sender.faultOf('https://8.8.8.8/'), undefined);
    assert.equal(sender.faultOf('https://[2606:4700:4700::1111]/'), undefined);
  });

  it('refuses a name that leads to an inner address, also as one of several', async () => {
    const { port, received } = await receiver();
    for (const address of inner) {
      const family = address.includes(':') ? 6 : 4;
      const sender = hookSender([], (_, __, done) =>
        done(null, [
          { address: '8.8.8.8', family: 4 },
          { address, family },
        ]),
      );
      const answer = await sender.post(requestTo(`http://hooks.example:${port}/`), never);
      assert.equal(answer.is, 'refused', address);
      assert.match(JSON.stringify(answer), /hooks\.example \(.*\) is not a public address/);
    }
    assert.equal(received.length, 0);
  });

  it('looks at what a name leads to at each request, so that one that changes gets nowhere', async () => {
    const { port, received } = await receiver();
    let address = '127.0.0.2';
    const sender = hookSender(['127.0.0.1'], (_, __, done) => done(null, [{ address, family: 4 }]));
    const post = async () => (await sender.post(requestTo(`http://hooks.example:${port}/`), never)).is;
    assert.equal(await post(), 'refused');
    address = '127.0.0.1';
    assert.equal(await post(), 'answered');
    address = '127.0.0.2';
    assert.equal(await post(), 'refused');
    assert.equal(received.length, 1);
  });

  it('sends to inner receivers that are allowed, by host, address or range', async () => {
    const { port, received } = await receiver();
    const local = (
      _: string,
      __: unknown,
      done: (e: null, a: { address: string; family: number }[]) => void,
    ) => done(null, [{ address: '127.0.0.1', family: 4 }]);
    for (const allowed of ['hooks.internal', '127.0.0.1', '127.0.0.0/8', '::ffff:127.0.0.1']) {
      const answer = await hookSender([allowed], local).post(
        requestTo(`http://hooks.internal:${port}/`),
        never,
      );
      assert.equal(answer.is, 'answered', allowed);
    }
    const other = await hookSender(['other.internal', '10.0.0.0/8'], local).post(
      requestTo(`http://hooks.internal:${port}/`),
      never,
    );
    assert.equal(other.is, 'refused');
    assert.equal(received.length, 4);
  });

  it('does not follow a redirect', async () => {
    const { url: inside, received } = await receiver();
    const { url } = await receiver((_, res) => res.writeHead(307, { Location: inside }).end());
    const answer = await hookSender(['127.0.0.1']).post(requestTo(url), never);
    assert.deepEqual(answer, { is: 'answered', status: 307, retryAfter: undefined });
    assert.equal(received.length, 0);
  });

  it('does not read an answer without end, and says what kept it from an answer', async () => {
    const endless = await receiver((_, res) => {
      res.writeHead(503, { 'Retry-After': '7' });
      const more = () => {
        while (!res.destroyed && res.write('x'.repeat(1000)));
      };
      res.on('drain', more);
      more();
    });
    const sender = hookSender(['127.0.0.1']);
    assert.deepEqual(await sender.post(requestTo(endless.url), never), {
      is: 'answered',
      status: 503,
      retryAfter: '7',
    });
    const gone = await hookReceiver();
    await gone.close();
    const unreachable = await sender.post(requestTo(gone.url), never);
    assert.deepEqual(unreachable, {
      is: 'unreachable',
      reason: 'the receiver cannot be reached: ECONNREFUSED',
    });
  });
});
