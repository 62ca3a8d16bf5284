import { expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { KnownServers } from './known-servers.ts';
import type { ServerList } from './server-choice.ts';

it('looks on this machine for the control plane that was known by an address it has no more', () => {
  let own = new Set(['127.0.0.1', '10.0.0.1']);
  let list: ServerList | undefined;
  const known = new KnownServers({
    standpoint: () => ({ nodeName: 'pi', given: 'https://10.0.0.1:7443', ownAddresses: own }),
    file: { read: async () => undefined, write: async () => {} },
    onServers: (next) => (list = next),
    clock: new ManualClock(),
    logger: silentLogger,
  });
  expect(known.moved()).toEqual([]);
  own = new Set(['127.0.0.1', '10.0.0.2']);
  expect(known.moved()).toEqual(['https://127.0.0.1:7443']);
  expect(list?.servers).toContain('https://127.0.0.1:7443');
  own = new Set(['127.0.0.1', '10.0.0.3']);
  expect(known.moved()).toEqual([]);
});
