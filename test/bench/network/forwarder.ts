// The userspace forwarder, in a process of its own in the machine's namespace: from the LAN to a pod by
// a NodePort, beside the same way in the kernel.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { NftApplier } from '../../../agent/proxy/nft-applier.ts';
import { machineAddress, ServiceNetwork } from '../../setup/service-network.ts';
import { row, type BenchmarkOptions, type Row } from '../harness.ts';
import { forwardedRules, kernelPorts, userspacePorts } from './forwarder-rules.ts';

const child = path.join(path.dirname(fileURLToPath(import.meta.url)), 'forwarder-child.ts');
/** Of each way and round. */
const seconds = 0.4;

export async function forwarder({ pairs }: BenchmarkOptions): Promise<readonly Row[]> {
  const network = new ServiceNetwork(`fb${process.pid}f`);
  const { system, bridge, machine, lan } = network;
  try {
    await network.build();
    const names = { table: 'flotilla_bench', bridge, serviceCidr: '10.96.0.0/16' };
    const deps = { system, clock: systemClock, logger: silentLogger };
    const applier = new NftApplier({ ...deps, ...names });
    await applier.apply(forwardedRules(kernelPorts));
    await applier.lookAround();
    const args = ['netns', 'exec', machine, process.execPath, child];
    const running = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(running.stdout, 'data');
      const kinds = [
        { name: 'throughput', kind: 'pump', unit: 'Gbit/s', at: 'sink', atLeast: 1.3 },
        { name: 'new connections', kind: 'rate', unit: '/s', at: 'speaker', atLeast: 1_000 },
      ] as const;
      return kinds.map(({ name, kind, unit, at, atLeast }) => {
        const ways = [userspacePorts, kernelPorts].map((own) => `${machineAddress}:${own[at]}`);
        const rounds = pairs ?? 20;
        const [ours = [], kernel = []] = network.compare(lan, { kind, seconds, rounds, ways });
        return row(`userspace forwarder: ${name}`, ours, {
          unit,
          goal: { of: 'value', atLeast },
          peer: { name: 'the same by nftables', samples: kernel },
        });
      });
    } finally {
      running.kill();
    }
  } finally {
    network.destroy();
  }
}
