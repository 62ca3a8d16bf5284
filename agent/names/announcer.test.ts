// What an agent says of itself on a link that the test makes up.
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { Announcer } from './announcer.ts';
import { decodeMessage, encodeMessage } from './codec.ts';
import type { LinkOptions } from './link.ts';
import { mdnsPort, type Message, type Sender } from './messages.ts';
import type { LinkAddress } from './teller.ts';

const clusterId = '3f2a91c4-0000-4000-8000-000000000001';
const name = 'pi-1-home-3f2a91c4._flotilla._tcp.local';
const asker = { address: '10.77.0.9', port: mdnsPort };

let clock: ManualClock;
let links: Map<string, LinkAddress>;
let open: Map<string, LinkOptions>;
let sent: { message: Message; to: Sender | undefined }[];
let stop: AbortController;
let announcer: Announcer;

beforeEach(async () => {
  clock = new ManualClock(0);
  links = new Map([['eth0', { name: 'eth0', address: '10.77.0.11', prefixLength: 24 }]]);
  open = new Map();
  sent = [];
  stop = new AbortController();
  announcer = new Announcer({
    announcement: { clusterId, nodeName: 'pi-1.home' },
    hostName: 'pi-1',
    port: 10250,
    links: () => links,
    clock,
    logger: silentLogger,
    signal: stop.signal,
    openLink: async (options) => {
      open.set(options.address, options);
      return {
        // As others get it.
        send: (message, to) =>
          void sent.push({ message: decodeMessage(encodeMessage(message))!, to }),
        close: async () => void open.delete(options.address),
      };
    },
  });
  await settled();
});

const settled = (): Promise<void> => new Promise(setImmediate);

function ask(type: string, asked: string, more: Partial<Message> = {}, from = asker, bit = 'IN') {
  sent = [];
  const questions = [{ name: asked, type, class: bit }];
  const nothing = { answers: [], authorities: [], additionals: [] };
  for (const { onMessage } of open.values())
    onMessage({ type: 'query', id: 7, questions, ...nothing, ...more }, from);
  return sent;
}

describe('announcement', () => {
  it('is made twice, with what a search needs', async () => {
    clock.advance(1000);
    expect(sent).toHaveLength(2);
    expect(sent[0]?.message.answers).toMatchObject([
      { name: '_flotilla._tcp.local', type: 'PTR', ttl: 4500, data: name },
      { name, type: 'SRV', ttl: 120, data: { port: 10250, target: 'pi-1.local' } },
      {
        name,
        type: 'TXT',
        data: [`cluster=${clusterId}`, 'node=pi-1.home'].map((text) => Buffer.from(text)),
      },
    ]);
  });

  it('follows the links, and ends with a goodbye', async () => {
    clock.advance(1000);
    links = new Map([['wlan0', { name: 'wlan0', address: '10.77.0.12', prefixLength: 24 }]]);
    sent = [];
    clock.advance(15_000);
    await settled();
    expect([...open.keys()]).toEqual(['10.77.0.12']);
    const ttls = sent.map(({ message }) => message.answers.map(({ ttl }) => ttl));
    expect(ttls).toEqual([
      [0, 0, 0],
      [4500, 120, 4500],
    ]);
    sent = [];
    stop.abort();
    await announcer.stop();
    expect(sent.map(({ message }) => message.answers[0]?.ttl)).toEqual([0]);
    expect([...open.keys()]).toEqual([]);
  });
});

describe('answers', () => {
  it('a search, with all that it would ask next, once a second', () => {
    const [answer] = ask('PTR', '_FLOTILLA._tcp.local');
    expect(answer?.to).toBeUndefined();
    expect(answer?.message.answers.map(({ type }) => type)).toEqual(['PTR']);
    expect(answer?.message.additionals.map(({ type }) => type)).toEqual(['SRV', 'TXT']);
    expect(ask('PTR', '_flotilla._tcp.local')).toEqual([]);
    clock.advance(1000);
    expect(ask('PTR', '_flotilla._tcp.local')).toHaveLength(1);
  });

  it('nobody who knows it, and nothing else', () => {
    const known = { name: '_flotilla._tcp.local', type: 'PTR', class: 'IN', flush: false };
    const answers = (ttl: number) => ({ answers: [{ ...known, ttl, data: name }] });
    expect(ask('PTR', '_flotilla._tcp.local', answers(2250))).toEqual([]);
    expect(ask('PTR', '_http._tcp.local')).toEqual([]);
    expect(ask('A', name)).toEqual([]);
    expect(ask('PTR', '_flotilla._tcp.local', answers(2249))).toHaveLength(1);
  });

  it('alone whoever asks for that, or knows no multicast', () => {
    const [alone] = ask('TXT', name, {}, asker, 'UNKNOWN_32769');
    expect([alone?.to, alone?.message.answers[0]?.type]).toEqual([asker, 'TXT']);
    const from = { address: '10.77.0.9', port: 40_000 };
    const [legacy] = ask('SRV', name, {}, from);
    expect([legacy?.to, legacy?.message.id]).toEqual([from, 7]);
    expect(legacy?.message.answers[0]).toMatchObject({ type: 'SRV', ttl: 10, flush: false });
    expect(legacy?.message.questions).toMatchObject([{ name, type: 'SRV' }]);
  });
});
