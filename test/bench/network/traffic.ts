// What goes through the rules, from one pod to another of the same machine: direct, by a ClusterIP among
// a thousand Services, and by the last of as many in Kubernetes' iptables shape. In turn, in namespaces.
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { NftApplier } from '../../../agent/proxy/nft-applier.ts';
import { proxyRules, type RuleSet } from '../../../agent/proxy/rules.ts';
import { makeRule } from '../../../agent/proxy/testing/services.ts';
import { ServiceNetwork } from '../../setup/service-network.ts';
import { row, type BenchmarkOptions, type Row } from '../harness.ts';
import { crowdForIptables, kubeIptables, makeCrowd, stateOf } from './crowd.ts';

const goal = { of: 'ratio', atLeast: 0.95 } as const;
/** Of each way and round. */
const seconds = 0.4;
const ours = '10.96.200.1';
const iptables = '10.97.200.1';

export async function traffic({ pairs }: BenchmarkOptions): Promise<readonly Row[]> {
  const network = new ServiceNetwork(`fb${process.pid}`);
  try {
    await network.build();
    return await measure(network, pairs ?? 20);
  } finally {
    network.destroy();
  }
}

/** Two endpoints: the caller itself is none. Ports of the sink and of what answers. */
function rulesFor(network: ServiceNetwork): RuleSet {
  const others = network.pods.slice(1);
  const own = [80, 81].map((port) => {
    const endpoints = others.map(({ address }) => ({ address, port: 8_000 + port }));
    const target = { endpoints, whenEmpty: 'reject' } as const;
    const more = { port, clusterIps: [ours], internal: target, external: target };
    return makeRule({ key: `bench/web/tcp/${port}`, ...more });
  });
  const crowd = proxyRules(stateOf(makeCrowd()));
  return { ...crowd, ports: [...own, ...crowd.ports] };
}

async function measure(network: ServiceNetwork, rounds: number): Promise<readonly Row[]> {
  const { system, bridge, machine, pods } = network;
  const [caller, other] = pods;
  if (caller === undefined || other === undefined) throw new Error('three pods');
  const names = { table: 'flotilla_bench', bridge, serviceCidr: '10.96.0.0/16' };
  const applier = new NftApplier({ system, clock: systemClock, logger: silentLogger, ...names });
  const endpoints = (port: number): string[] =>
    pods.slice(1).map(({ address }) => `${address}:${port}`);
  const load = async (port: number): Promise<void> => {
    // One table of them at a time: each Service of iptables answers at port 80.
    const services = [...crowdForIptables(), { ip: iptables, endpoints: endpoints(port) }];
    const moved = services.map((one) => ({ ...one, ip: one.ip.replace('10.96.', '10.97.') }));
    const loaded = await system.run('iptables-restore', [], kubeIptables(moved));
    if (loaded.exitCode !== 0) throw new Error(loaded.stderr);
  };
  await applier.apply(rulesFor(network));
  const rows: Row[] = [];
  const kinds = [
    { name: 'throughput', kind: 'pump', unit: 'Gbit/s', port: 8_081, servicePort: 81 },
    { name: 'new connections', kind: 'rate', unit: '/s', port: 8_080, servicePort: 80 },
  ] as const;
  for (const { name, kind, unit, port, servicePort } of kinds) {
    await load(port);
    const ways = [`${other.address}:${port}`, `${ours}:${servicePort}`, `${iptables}:80`];
    const samples = network.compare(caller.netns, { kind, seconds, rounds, ways });
    const [direct = [], byRules = [], byIptables = []] = samples;
    rows.push(
      row(`${name} by a ClusterIP`, byRules, {
        unit,
        goal,
        peer: { name: 'direct', samples: direct },
      }),
      row(`${name} by a ClusterIP, again`, byRules, {
        unit,
        peer: { name: "Kubernetes' iptables shape, last of 1001", samples: byIptables },
      }),
    );
  }
  network.inside(machine, 'nft', 'delete', 'table', 'ip', names.table);
  return rows;
}
