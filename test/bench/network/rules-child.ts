// Applies rules in the network it was started in, and says how long it took: one line of JSON.
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { NftApplier } from '../../../agent/proxy/nft-applier.ts';
import { RuleMaker } from '../../../agent/proxy/rules.ts';
import { proxySystem } from '../../../agent/proxy/system.ts';
import { kubeNftables, makeCrowd, stateOf, withChange } from './crowd.ts';

/** In milliseconds. */
export interface RulesSamples {
  readonly first: number[];
  readonly whole: number[];
  readonly peer: number[];
  readonly change: number[];
}

const rounds = Number(process.argv[2]);
const system = proxySystem(0);
const names = { table: 'flotilla_bench', bridge: 'flt-bench', serviceCidr: '10.96.0.0/16' };
const crowd = makeCrowd();
const text = kubeNftables('kube-proxy');
const samples: RulesSamples = { first: [], whole: [], peer: [], change: [] };

for (let round = 0; round <= rounds; round++) {
  const applier = new NftApplier({ system, clock: systemClock, logger: silentLogger, ...names });
  const maker = new RuleMaker();
  const to = round === 0 ? samples.first : samples.whole;
  to.push(await timed(() => applier.apply(maker.make(stateOf(crowd)))));
  for (let i = 0; i < 3; i++) {
    const changed = stateOf(withChange(crowd, 3 * round + i));
    const tookMs = await timed(() => applier.apply(maker.make(changed)));
    if (round > 0) samples.change.push(tookMs);
  }
  await nft(['delete', 'table', 'ip', names.table]);
  if (round === 0) continue;
  samples.peer.push(await timed(() => nft(['--file', '-'], text)));
  await nft(['delete', 'table', 'ip', 'kube-proxy']);
}
process.stdout.write(`${JSON.stringify(samples)}\n`);

async function nft(args: readonly string[], input?: string): Promise<void> {
  const { exitCode, stderr } = await system.run('nft', args, input);
  if (exitCode !== 0) throw new Error(stderr);
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await act();
  return performance.now() - startMs;
}
