import { describe, expect, it } from 'vitest';
import type { Pod, Volume } from '#kube/api/core.ts';
import { hasStorageLimits, overLimit } from './storage-limits.ts';

const mib = 1024 ** 2;

function pod(limits: Readonly<Record<string, string | undefined>>, volumes: Volume[] = []): Pod {
  const containers = Object.entries(limits).map(([name, limit]) => ({
    name,
    image: 'web:1',
    ...(limit !== undefined && { resources: { limits: { 'ephemeral-storage': limit } } }),
  }));
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: { containers, volumes } };
}

const cache = (sizeLimit: string, medium = ''): Volume => ({
  name: 'cache',
  emptyDir: { sizeLimit, medium },
});

const rows: {
  name: string;
  pod: Pod;
  containers?: Record<string, number>;
  volumes?: Record<string, number>;
  want: string | undefined;
}[] = [
  {
    name: 'a volume below its limit',
    pod: pod({ web: undefined }, [cache('2Mi')]),
    volumes: { cache: 2 },
    want: undefined,
  },
  {
    name: 'a volume above it',
    pod: pod({ web: undefined }, [cache('2Mi')]),
    volumes: { cache: 3 },
    want: 'Usage of EmptyDir volume "cache" exceeds the limit "2Mi". ',
  },
  {
    name: 'a limit of nothing, which is none',
    pod: pod({ web: undefined }, [cache('0')]),
    volumes: { cache: 3 },
    want: undefined,
  },
  {
    name: 'a container above its limit',
    pod: pod({ web: '1Mi' }),
    containers: { web: 2 },
    want: 'Container web exceeded its local ephemeral storage limit "1Mi". ',
  },
  {
    name: 'a container with a limit of nothing',
    pod: pod({ web: '0', db: undefined }),
    containers: { web: 2 },
    want: undefined,
  },
  {
    name: 'containers and volumes together above the sum of limits',
    pod: pod({ web: '3Mi', db: '1Mi' }, [{ name: 'cache', emptyDir: {} }]),
    containers: { web: 2, db: 1 },
    volumes: { cache: 2 },
    want: 'Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ',
  },
  {
    name: 'a container that may use what it wants',
    pod: pod({ web: '3Mi', db: undefined }),
    containers: { web: 2, db: 100 },
    want: undefined,
  },
];

describe('storage limits', () => {
  it.each(rows)('see $name', (row) => {
    const bytes = (sizes: Record<string, number> = {}) =>
      new Map(Object.entries(sizes).map(([name, size]) => [name, size * mib]));
    const use = { volumeBytes: bytes(row.volumes), containerBytes: bytes(row.containers) };
    expect(overLimit(row.pod, use)).toBe(row.want);
  });

  it('make a pod worth looking at, and nothing else does', () => {
    expect(hasStorageLimits(pod({ web: '1Mi' }))).toBe(true);
    expect(hasStorageLimits(pod({ web: undefined }, [cache('1Mi')]))).toBe(true);
    expect(hasStorageLimits(pod({ web: undefined }, [cache('1Mi', 'Memory')]))).toBe(false);
    expect(hasStorageLimits(pod({ web: undefined }))).toBe(false);
  });
});
