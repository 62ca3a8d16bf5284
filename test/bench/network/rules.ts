// How long rules take: a thousand Services from nothing, beside Kubernetes' own nftables shape of the
// same, and one endpoint that changes. In a namespace of its own, where nothing else is.
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { NftApplier } from '../../../agent/proxy/nft-applier.ts';
import { RuleMaker } from '../../../agent/proxy/rules.ts';
import { ip, systemIn } from '../../setup/service-network.ts';
import { row, type BenchmarkOptions, type Row } from '../harness.ts';
import { kubeNftables, makeCrowd, serviceCount, stateOf, withChange } from './crowd.ts';

const applyGoalMs = 150;
const changeGoalMs = 50;

export async function rules({ pairs }: BenchmarkOptions): Promise<readonly Row[]> {
  const netns = `fb${process.pid}-rules`;
  ip('netns', 'add', netns);
  try {
    return await measure(netns, pairs ?? 7);
  } finally {
    ip('netns', 'del', netns);
  }
}

async function measure(netns: string, rounds: number): Promise<readonly Row[]> {
  const system = systemIn(netns);
  const names = { table: 'flotilla_bench', bridge: 'flt-bench', serviceCidr: '10.96.0.0/16' };
  const make = () => new NftApplier({ system, clock: systemClock, logger: silentLogger, ...names });
  const crowd = makeCrowd();
  const text = kubeNftables('kube-proxy');
  const [ours, peers, changes]: [number[], number[], number[]] = [[], [], []];
  let applier = make();
  let maker = new RuleMaker();
  for (let round = 0; round < rounds; round++) {
    applier = make();
    maker = new RuleMaker();
    ours.push(await timed(() => applier.apply(maker.make(stateOf(crowd)))));
    peers.push(
      await timed(async () => {
        const { exitCode, stderr } = await system.run('nft', ['--file', '-'], text);
        if (exitCode !== 0) throw new Error(stderr);
      }),
    );
    await system.run('nft', ['delete', 'table', 'ip', 'kube-proxy']);
  }
  for (let round = 0; round < 3 * rounds; round++) {
    const changed = stateOf(withChange(crowd, round));
    changes.push(await timed(() => applier.apply(maker.make(changed))));
  }
  return [
    row(`${serviceCount} Services x 3 endpoints, from objects to the kernel`, ours, {
      unit: 'ms',
      goal: { of: 'value', atMost: applyGoalMs },
      peer: { name: "Kubernetes' nftables shape, text to the kernel", samples: peers },
    }),
    row('one endpoint changes among them', changes, {
      unit: 'ms',
      goal: { of: 'value', atMost: changeGoalMs },
    }),
  ];
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await act();
  return performance.now() - startMs;
}
