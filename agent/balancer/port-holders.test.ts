import { expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { PortHolders } from './port-holders.ts';

const ssh: Service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'default', name: 'ssh' },
  spec: {
    type: 'LoadBalancer',
    ports: [
      { port: 22 },
      { port: 22, protocol: 'UDP' },
      { port: 22, protocol: 'SCTP' },
      { port: 8080 },
    ],
  },
};

it('ports that Services want are looked at, again after a while, and not when none is wanted', async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  let list = [ssh];
  let changed = (): void => undefined;
  const asked: string[] = [];
  const holders = new Map([['22/tcp', 'sshd (process 7)']]);
  let changes = 0;
  const taken = new PortHolders({
    services: {
      lister: { list: () => list },
      addHandler(handlers) {
        changed = () => handlers.onUpdate();
        return () => undefined;
      },
    },
    async holder(port, protocol) {
      asked.push(`${port}/${protocol}`);
      return Promise.resolve(holders.get(`${port}/${protocol}`));
    },
    clock,
    onChange: () => changes++,
    signal: stop.signal,
  });
  const settle = () => new Promise(setImmediate);
  changed();
  await settle();
  expect([taken.text, changes, asked]).toEqual([
    '22/sctp free; 22/tcp sshd (process 7); 22/udp free; 8080/tcp free',
    1,
    ['22/tcp', '22/udp', '8080/tcp'],
  ]);
  holders.set('8080/tcp', 'caddy (process 8)');
  clock.advance(30_000);
  await settle();
  expect([taken.text, changes]).toEqual([
    '22/sctp free; 22/tcp sshd (process 7); 22/udp free; 8080/tcp caddy (process 8)',
    2,
  ]);
  list = [];
  changed();
  await settle();
  expect([taken.text, changes]).toEqual([undefined, 3]);
  asked.length = 0;
  clock.advance(60_000);
  await settle();
  expect(asked).toEqual([]);
  stop.abort();
});
