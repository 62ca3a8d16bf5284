import { expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import { externalClaims } from './external-claims.ts';

function service(name: string, externalIPs: string[], ...ports: (number | string)[]): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name },
    spec: {
      externalIPs,
      ports: ports.map((port) =>
        typeof port === 'number' ? { port } : { port: Number.parseInt(port, 10), protocol: 'UDP' },
      ),
    },
  };
}

it('of two Services with one external address and port only the second by name is told', () => {
  const [address, other] = ['203.0.113.5', '203.0.113.6'];
  const films = service('films', [address, other], 80, 443, '53');
  const music = service('music', [address], 80, 8080, 53);
  const maps = service('maps', [other], 443);
  const all = [music, films, maps, service('none', [], 80)];
  const told = (one: Service) => externalClaims(one, all).map((text) => text.split(', which')[0]);
  expect([told(films), told(music), told(maps)]).toEqual([
    [],
    [`${address}:80/tcp leads to the Service default/films`],
    [`${other}:443/tcp leads to the Service default/films`],
  ]);
});
