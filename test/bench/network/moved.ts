// From an EndpointSlice's change in the API to traffic that goes elsewhere: a whole control plane over
// TLS, informers, the proxy, a real kernel, and a pod that connects again and again.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build, isStale } from '../../../electron/build.ts';
import { ServiceNetwork } from '../../setup/service-network.ts';
import { row, type BenchmarkOptions, type Row } from '../harness.ts';

const child = path.join(path.dirname(fileURLToPath(import.meta.url)), 'moved-child.ts');

export async function moved({ pairs }: BenchmarkOptions): Promise<readonly Row[]> {
  if (isStale()) await build();
  const id = `fb${process.pid}m`;
  const network = new ServiceNetwork(id);
  try {
    await network.build();
    const enter = ['netns', 'exec', network.machine, process.execPath];
    const args = [...enter, child, id, String(pairs ?? 20)];
    const { stdout } = await promisify(execFile)('ip', args);
    return [
      row('endpoint changed in the API → connections go there', JSON.parse(stdout) as number[], {
        unit: 'ms',
        goal: { of: 'value', atMost: 200 },
      }),
    ];
  } finally {
    network.destroy();
  }
}
