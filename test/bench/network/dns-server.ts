// The DNS server of an agent alone in a process: a thousand Services with three endpoints each, one headless
// with ten, and another server's answers that lie in the cache. Prints its port and what the zone takes.
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { Resolver } from '../../../agent/dns/resolver.ts';
import { DnsServer } from '../../../agent/dns/server.ts';
import { service, slice } from '../../setup/dns-messages.ts';
import { Forwarder } from '../../../agent/dns/upstream/forwarder.ts';
import { Zone } from '../../../agent/dns/zone.ts';
import { serviceCount } from './dns-plan.ts';

const clock = systemClock;
const zone = new Zone(() => clock.now());
const heapBefore = heapBytes();
for (let i = 0; i < serviceCount; i++) {
  const clusterIPs = [`10.96.${i >> 8}.${i & 0xff}`];
  const ports = [{ name: 'http', port: 80 }];
  zone.setService(service(`default/web-${i}`, { clusterIPs, ports }));
  const endpoints = [0, 1, 2].map((n) => ({
    addresses: [`10.244.${(i >> 8) + n * 4}.${i & 0xff}`],
  }));
  zone.setSlice(slice(`default/web-${i}`, 'IPv4', { endpoints, ports }));
}
const ten = Array.from({ length: 10 }, (_, i) => ({
  addresses: [`10.245.0.${i}`],
  hostname: `db-${i}`,
}));
zone.setService(service('default/db', { clusterIP: 'None', ports: [] }));
zone.setSlice(slice('default/db', 'IPv4', { endpoints: ten, ports: [] }));
zone.markKnown();
const zoneBytes = heapBytes() - heapBefore;

/** As another server would: a minute's A record for anything. */
const forwarder = new Forwarder({
  exchange: ({ message, accepts }) => {
    const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    const answer = Buffer.concat([message.subarray(0, -11), Buffer.from(record)]);
    answer.writeUInt16BE(0x8180, 2);
    answer.writeUInt16BE(1, 6);
    answer.writeUInt16BE(0, 10);
    return accepts(answer) ? Promise.resolve(answer) : Promise.reject(new Error('not understood'));
  },
  servers: () => [{ address: '192.0.2.53', port: 53 }],
  clock,
  logger: silentLogger,
});
const state = { zone, ownRanges: ['10.96.0.0/16'], serverAddress: '10.96.0.10' };
const resolver = new Resolver({ state: () => state, forwarder, logger: silentLogger });
const server = new DnsServer({ resolver, mayAsk: () => true, clock, logger: silentLogger });
await server.listen('127.0.0.1', [0]);
process.stdout.write(`${JSON.stringify({ port: server.port, zoneBytes })}\n`);
process.on('disconnect', () => process.exit(0));

function heapBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
