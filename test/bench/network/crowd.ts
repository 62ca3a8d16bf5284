// A thousand Services with three endpoints each, as objects of the API, and the same as Kubernetes' own
// proxies write them: its nftables shape (a verdict map, a chain for each Service and each endpoint)
// and its iptables shape (a chain each, compared one after another, chosen by statistic).
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { ProxyState } from '../../../agent/proxy/rules.ts';
import { makeService, makeSlice } from '../../../agent/proxy/testing/services.ts';

export const serviceCount = 1_000;
const hosts = [0, 1, 2];

export interface Crowd {
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
}

export function clusterIp(index: number): string {
  return `10.96.${index >> 8}.${index & 255}`;
}

/** Of each Service one endpoint is on this node, where pods are a hundred. */
function endpointAddress(index: number, host: number): string {
  return `10.244.${host}.${(index % 100) + 2}`;
}

function endpointPort(index: number): number {
  return 8_080 + Math.floor(index / 100);
}

export function makeCrowd(): Crowd {
  const indexes = Array.from({ length: serviceCount }, (_, index) => index);
  return {
    services: indexes.map((index) =>
      makeService(`s${index}`, {
        clusterIP: clusterIp(index),
        ports: [{ name: 'http', port: 80 }],
      }),
    ),
    slices: indexes.map((index) =>
      makeSlice(
        `s${index}`,
        hosts.map((host) => ({
          addresses: [endpointAddress(index, host)],
          nodeName: `n${host}`,
          conditions: { ready: true },
        })),
        [{ name: 'http', port: endpointPort(index), protocol: 'TCP' }],
      ),
    ),
  };
}

/** One endpoint of one Service elsewhere; all other objects are the same ones. */
export function withChange(crowd: Crowd, round: number): Crowd {
  const slices = [...crowd.slices];
  const at = (round * 37) % serviceCount;
  const slice = slices[at];
  if (slice === undefined) throw new Error('no such slice');
  const [, ...others] = slice.endpoints ?? [];
  const moved = { addresses: [`10.244.3.${(round % 200) + 2}`], nodeName: 'n3' };
  slices[at] = { ...slice, endpoints: [moved, ...others] };
  return { ...crowd, slices };
}

export function stateOf({ services, slices }: Crowd): ProxyState {
  const place = { nodeName: 'n0', zone: '', nodeAddresses: [] };
  return { services, endpointSlices: slices, ...place };
}

/** What Kubernetes' proxy writes in its nftables mode, less comments and counters. */
export function kubeNftables(table: string): string {
  const lines = [`add table ip ${table}`, `delete table ip ${table}`, `table ip ${table} {`];
  const elements: string[] = [];
  lines.push(
    '  chain mark-for-masquerade { meta mark set meta mark or 0x4000; }',
    '  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }',
  );
  for (let index = 0; index < serviceCount; index++) {
    for (const host of hosts)
      lines.push(
        `  chain endpoint-${index}-${host} {`,
        `    ip saddr ${endpointAddress(index, host)} jump mark-for-masquerade;`,
        `    meta l4proto tcp dnat to ${endpointAddress(index, host)}:${endpointPort(index)};`,
        '  }',
      );
    const ways = hosts.map((host) => `${host} : goto endpoint-${index}-${host}`).join(', ');
    lines.push(`  chain service-${index} { numgen random mod 3 vmap { ${ways} }; }`);
    elements.push(`${clusterIp(index)} . tcp . 80 : goto service-${index}`);
  }
  lines.push(
    '  chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }',
    '  chain nat-prerouting { type nat hook prerouting priority -100; jump services; }',
    '  chain nat-output { type nat hook output priority -100; jump services; }',
    '}',
    `add element ip ${table} service-ips { ${elements.join(', ')} }`,
  );
  return `${lines.join('\n')}\n`;
}

export interface IptablesService {
  readonly ip: string;
  readonly endpoints: readonly string[];
}

/** For `iptables-restore`: what Kubernetes' proxy writes in its iptables mode for these Services. */
export function kubeIptables(services: readonly IptablesService[]): string {
  const chains: string[] = [':KUBE-SERVICES - [0:0]'];
  const rules: string[] = ['-A PREROUTING -j KUBE-SERVICES', '-A OUTPUT -j KUBE-SERVICES'];
  for (const [index, { ip, endpoints }] of services.entries()) {
    chains.push(`:KUBE-SVC-${index} - [0:0]`);
    rules.push(`-A KUBE-SERVICES -d ${ip}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-${index}`);
    for (const [i, endpoint] of endpoints.entries()) {
      const chain = `KUBE-SEP-${index}-${i}`;
      const left = endpoints.length - i;
      const chance = `-m statistic --mode random --probability ${(1 / left).toFixed(10)} `;
      chains.push(`:${chain} - [0:0]`);
      rules.push(
        `-A KUBE-SVC-${index} ${left === 1 ? '' : chance}-j ${chain}`,
        `-A ${chain} -p tcp -m tcp -j DNAT --to-destination ${endpoint}`,
      );
    }
  }
  return `*nat\n${[...chains, ...rules].join('\n')}\nCOMMIT\n`;
}

export function crowdForIptables(): readonly IptablesService[] {
  return Array.from({ length: serviceCount }, (_, index) => ({
    ip: clusterIp(index),
    endpoints: hosts.map((host) => `${endpointAddress(index, host)}:${endpointPort(index)}`),
  }));
}
