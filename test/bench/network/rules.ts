// How long rules take: a thousand Services from nothing, beside Kubernetes' own nftables shape of the
// same, and one endpoint that changes. A process in a network of its own, where nothing else is.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ip } from '../../setup/service-network.ts';
import { row, type BenchmarkOptions, type Row } from '../harness.ts';
import { serviceCount } from './crowd.ts';
import type { RulesSamples } from './rules-child.ts';

const child = path.join(path.dirname(fileURLToPath(import.meta.url)), 'rules-child.ts');
const applyGoalMs = 150;
const changeGoalMs = 50;

export async function rules({ pairs }: BenchmarkOptions): Promise<readonly Row[]> {
  const netns = `fb${process.pid}-rules`;
  ip('netns', 'add', netns);
  try {
    const args = ['netns', 'exec', netns, process.execPath, child, String(pairs ?? 7)];
    const { stdout } = await promisify(execFile)('ip', args);
    return rowsOf(JSON.parse(stdout) as RulesSamples);
  } finally {
    ip('netns', 'del', netns);
  }
}

function rowsOf({ first, whole, peer, change }: RulesSamples): readonly Row[] {
  const name = `${serviceCount} Services x 3 endpoints, from objects to the kernel`;
  return [
    row(name, whole, {
      unit: 'ms',
      goal: { of: 'value', atMost: applyGoalMs },
      peer: { name: "Kubernetes' nftables shape, text to the kernel", samples: peer },
    }),
    row('the same by a process that has just started', first, { unit: 'ms' }),
    row('one endpoint changes among them', change, {
      unit: 'ms',
      goal: { of: 'value', atMost: changeGoalMs },
    }),
  ];
}
