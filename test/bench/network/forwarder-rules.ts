// NodePorts to a pod of service-network.ts: of those the kernel has some, the forwarder others.
import type { RuleSet } from '../../../agent/proxy/rules.ts';
import { makeRule, ruleSet } from '../../../agent/proxy/testing/services.ts';

export interface Ports {
  readonly speaker: number;
  readonly sink: number;
}

export const kernelPorts: Ports = { speaker: 30_080, sink: 30_081 };
export const userspacePorts: Ports = { speaker: 31_080, sink: 31_081 };

export function forwardedRules({ speaker, sink }: Ports): RuleSet {
  const to = (nodePort: number, port: number) => {
    const endpoints = [{ address: '10.244.77.2', port }];
    const target = { endpoints, whenEmpty: 'reject' } as const;
    return makeRule({
      key: `bench/web/tcp/${port}`,
      port,
      nodePort,
      internal: target,
      external: target,
    });
  };
  return ruleSet(to(speaker, 8_080), to(sink, 8_081));
}
