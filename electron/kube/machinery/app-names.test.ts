import { describe, expect, it } from 'vitest';
import type { Ingress, IngressClass } from '../api/networking.ts';
import { appDomains, appHosts, homeDomainsAnnotation, isAppName, isNameOf } from './app-names.ts';

function flotilla(domains?: string): IngressClass {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: {
      name: 'flotilla',
      ...(domains === undefined ? {} : { annotations: { [homeDomainsAnnotation]: domains } }),
    },
    spec: { controller: 'flotilla.dev/ingress' },
  };
}

function ingress(...hosts: string[]): Ingress {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'home', namespace: 'default' },
    spec: { ingressClassName: 'flotilla', rules: hosts.map((host) => ({ host })) },
  };
}

const own = ['home.arpa', 'internal', 'lan', 'local'];

describe('the domains of a home', () => {
  it.each([
    [undefined, own, 0],
    [
      'Home.Example.org, , example.net',
      ['example.net', 'home.arpa', 'home.example.org', ...own.slice(1)],
      0,
    ],
    ['com, a..b, 10.0.0.1, *.x.org', own, 4],
  ])('%j', (given, want, mistakes) => {
    const found = appDomains([flotilla(given)]);
    expect([found.domains, found.mistakes.length]).toEqual([want, mistakes]);
  });
});

describe('a certificate of the cluster can be', () => {
  it.each([
    ['films.local', true],
    ['a.b.home.arpa', true],
    ['*.films.local', true],
    ['*.local', false],
    ['local', false],
    ['bank.com', false],
    ['notlocal', false],
    ['api.default.svc.cluster.local', false],
    ['cluster.local', false],
    ['*.cluster.local', false],
    ['a b.local', false],
    ['10.0.0.1', false],
    ['', false],
  ])('for %j: %j', (name, want) => expect(isAppName(name, own)).toBe(want));

  it('never for Flotilla’s own page: its holder could pass for it', () => {
    const names = ['flotilla.local', 'flotilla-12.local', 'flotilla-x.local'];
    expect(names.map((name) => isAppName(name, ['local']))).toEqual([false, false, true]);
  });

  it('for hosts of our Ingresses, and what they are called beside another device of that name', () => {
    const theirs = {
      ...ingress('theirs.local'),
      spec: { ingressClassName: 'nginx', rules: [{ host: 'theirs.local' }] },
    };
    const hosts = appHosts([ingress('Films.local', 'bank.com', ''), theirs], [flotilla()]);
    expect(hosts).toEqual(['films.local']);
    const names = ['films.local', 'films-2.local', 'films-x.local', 'music.local', 'films-2.lan'];
    expect(names.map((name) => isNameOf(name, hosts))).toEqual([true, true, false, false, false]);
  });
});
