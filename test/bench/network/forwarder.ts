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
const seconds = '1.5';

export async function forwarder({ pairs }: BenchmarkOptions): Promise<readonly Row[]> {
  const network = new ServiceNetwork(`fb${process.pid}f`);
  const { system, bridge, machine, lan } = network;
  try {
    await network.build();
    const names = { table: 'flotilla_bench', bridge, serviceCidr: '10.96.0.0/16' };
    const deps = { system, clock: systemClock, logger: silentLogger };
    await new NftApplier({ ...deps, ...names }).apply(forwardedRules(kernelPorts));
    const args = ['netns', 'exec', machine, process.execPath, child];
    const running = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(running.stdout, 'data');
      const ask = (mode: string, port: number): number => {
        const result = network.measure(lan, mode, machineAddress, String(port), seconds);
        return Object.values(result)[0] ?? Number.NaN;
      };
      const kinds = [
        { name: 'throughput', mode: 'pump', unit: 'Gbit/s', at: 'sink', atLeast: 1.3 },
        { name: 'new connections', mode: 'rate', unit: '/s', at: 'speaker', atLeast: 1_000 },
      ] as const;
      return kinds.map(({ name, mode, unit, at, atLeast }) => {
        const [ours, kernel]: [number[], number[]] = [[], []];
        for (let round = 0; round < (pairs ?? 7); round++) {
          ours.push(ask(mode, userspacePorts[at]));
          kernel.push(ask(mode, kernelPorts[at]));
        }
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
