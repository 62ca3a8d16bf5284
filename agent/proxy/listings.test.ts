import { describe, expect, it } from 'vitest';
import { parseEntries } from './conntrack.ts';
import { rememberedClients } from './nft-applier.ts';

describe('parseEntries', () => {
  it('reads who sends where and who answers, each once', () => {
    const text = `udp      17 29 src=10.0.0.2 dst=10.96.0.10 sport=5000 dport=53 [UNREPLIED] src=10.244.0.3 dst=10.0.0.2 sport=5353 dport=5000 mark=0 use=1
udp      17 100 src=10.0.0.2 dst=10.96.0.10 sport=5001 dport=53 src=10.244.0.3 dst=10.0.0.2 sport=5353 dport=5001 [ASSURED] use=1
conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.`;
    expect(parseEntries(text)).toEqual([
      { address: '10.96.0.10', port: 53, endpoint: '10.244.0.3' },
    ]);
  });
});

describe('rememberedClients', () => {
  it('reads whom the sets of a table know, and for how long yet', () => {
    const elem = [{ elem: { val: '10.0.0.2', timeout: 60, expires: 41 } }];
    const nftables = [
      { metainfo: {} },
      { set: { name: 'of-a', elem } },
      { set: { name: 'hairpin', elem: [{ concat: ['10.0.0.1', '10.0.0.1'] }] } },
      { set: { name: 'empty' } },
      { chain: {} },
    ];
    expect(rememberedClients(JSON.stringify({ nftables }))).toEqual([
      { set: 'of-a', address: '10.0.0.2', expiresSeconds: 41 },
    ]);
  });
});
