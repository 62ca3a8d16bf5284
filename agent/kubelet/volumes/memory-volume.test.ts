import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { memoryVolumeBytes } from './memory-volume.ts';

function limitsOf(memory: string | undefined): Record<string, string> {
  return memory === undefined ? {} : { memory };
}

function podWith(memory: readonly (string | undefined)[], ofPod?: string): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: {
      containers: memory.map((limit, i) => ({
        name: `c${i}`,
        resources: { limits: limitsOf(limit) },
      })),
      ...(ofPod === undefined ? {} : { resources: { limits: limitsOf(ofPod) } }),
    },
  };
}

describe('a volume of memory grows', () => {
  const cases: readonly (readonly [string, Pod, number | undefined, number | undefined])[] = [
    ['as far as the kernel lets it', podWith([undefined]), undefined, undefined],
    ['to its own limit', podWith([undefined]), 100, 100],
    ['to what all containers may have', podWith(['100', '50']), undefined, 150],
    ['past that of one container if another has none', podWith(['100', undefined]), 500, 500],
    ['to the smallest of all', podWith(['100'], '80'), 90, 80],
  ];
  it.each(cases)('%s', (_name, pod, sizeLimitBytes, want) => {
    expect(memoryVolumeBytes(pod, sizeLimitBytes)).toBe(want);
  });
});
