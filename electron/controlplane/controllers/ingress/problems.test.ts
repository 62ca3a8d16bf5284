import { describe, expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import type { Ingress, IngressClass, IngressSpec } from '#kube/api/networking.ts';
import { ingressController } from '#kube/machinery/ingress.ts';
import { ingressProblems, missing } from './problems.ts';

const flotilla: IngressClass = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'IngressClass',
  metadata: { name: 'flotilla' },
  spec: { controller: ingressController },
};
const web: Service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'default', name: 'web' },
  spec: { ports: [{ name: 'http', port: 80 }] },
};

function ingress(spec: IngressSpec, more: Partial<Ingress['metadata']> = {}): Ingress {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      namespace: 'default',
      name: 'home',
      creationTimestamp: '2026-01-02T00:00:00Z',
      ...more,
    },
    spec: { ingressClassName: 'flotilla', ...spec },
  };
}

function rule(host: string, path = '/', port: { name?: string; number?: number } = { number: 80 }) {
  const backend = { service: { name: 'web', port } };
  return { host, http: { paths: [{ path, pathType: 'Prefix', backend }] } };
}

function problems(
  one: Ingress,
  world: { others?: Ingress[]; classes?: IngressClass[]; secretProblem?: string } = {},
): string[] {
  const { others = [], classes = [flotilla], secretProblem } = world;
  return ingressProblems(one, {
    own: [one, ...others],
    classes,
    service: (name) => (name === 'web' ? web : undefined),
    secretProblem: () => secretProblem,
  }).map(({ type, reason, sentence }) => `${type} ${reason}: ${sentence}`);
}

const warning = (sentence: string): string => `Warning IngressProblem: ${sentence}`;

describe('of an Ingress it is said', () => {
  it('that nobody is told of a name with more than one label below .local', () => {
    expect(problems(ingress({ rules: [rule('Deep.nas.local'), rule('nas.local')] }))).toEqual([
      "Warning NameNotTold: deep.nas.local is served, but the home is not told of it: below .local only names of one label can be found by everybody. Choose one, as deep.local, or a name that your router's DNS answers for.",
    ]);
    expect(problems(ingress({ rules: [rule('*.nas.local')] }))[0]).toContain('as nas.local, or');
  });

  it('nothing where all is well', () => {
    expect(
      problems(ingress({ rules: [rule('films.local'), rule('films.local', '/music')] })),
    ).toEqual([]);
    const tls = [{ hosts: ['shop.example.com'], secretName: 'shop' }];
    expect(problems(ingress({ rules: [rule('shop.example.com')], tls }))).toEqual([]);
  });

  it('what of its backends is not there', () => {
    const backend = { service: { name: 'gone', port: { number: 80 } } };
    const bucket = { resource: { apiGroup: 'x', kind: 'Bucket', name: 'b' } };
    const rules = [
      rule('films.local', '/a', { number: 81 }),
      rule('films.local', '/b', { name: 'metrics' }),
      {
        host: 'films.local',
        http: { paths: [{ path: '/c', pathType: 'Exact', backend: bucket }] },
      },
    ];
    expect(problems(ingress({ defaultBackend: backend, rules }))).toEqual([
      warning(
        'The Service default/gone does not exist: requests are answered with 503 until it is created, or another one is named.',
      ),
      warning(
        'The Service default/web has no port 81: it has 80 (http). Name one of its ports in the backend.',
      ),
      warning(
        'The Service default/web has no port metrics: it has 80 (http). Name one of its ports in the backend.',
      ),
      warning(
        'Only Services can be behind an Ingress here, no other resources: name a Service in its backend.',
      ),
    ]);
  });

  it('that another has its host and path: on the younger, whatever the order', () => {
    const young = ingress({ rules: [rule('films.local', '/a/')] }, { name: 'a' });
    const old = ingress(
      { rules: [rule('Films.local', '/a')] },
      { name: 'z', creationTimestamp: '2026-01-01T00:00:00Z' },
    );
    expect(problems(young, { others: [old] })).toEqual([
      warning(
        'films.local/a is served for the older Ingress default/z already: choose another host or path, or delete that one.',
      ),
    ]);
    expect(problems(old, { others: [young] })).toEqual([]);
    expect(problems(ingress({ rules: [rule('films.local'), rule('films.local')] }))).toEqual([
      warning(
        'films.local/ stands in this Ingress twice: only the first counts. Take the other away.',
      ),
    ]);
  });

  it('what is the matter with a Secret, and how it is made', () => {
    const tls = [{ secretName: 'films-tls' }];
    const rules = [rule('films.local'), rule('music.local')];
    expect(problems(ingress({ rules, tls }), { secretProblem: missing })).toEqual([
      warning(
        'No HTTPS for films.local, music.local: the Secret default/films-tls does not exist. ' +
          'Create it: kubectl create secret tls films-tls -n default --cert=FILE --key=FILE. ' +
          'Or take it out of spec.tls: the home makes a certificate itself then.',
      ),
    ]);
    const theirs = ingress({
      rules: [rule('a.example.com')],
      tls: [{ hosts: ['a.example.com'], secretName: 'x' }],
    });
    expect(problems(theirs, { secretProblem: 'has no tls.crt and tls.key' })).toEqual([
      warning(
        'No HTTPS for a.example.com: the Secret default/x has no tls.crt and tls.key. ' +
          'Create it anew: kubectl create secret tls x -n default --cert=FILE --key=FILE.',
      ),
    ]);
  });

  it('that the home’s own authority may not vouch for a name; a warning to who asks for TLS', () => {
    const rules = [rule('www.example.com'), rule('films.local'), rule('com')];
    const only =
      "this home's own certificates are for names below home.arpa, internal, lan and local only. Name a Secret with its certificate in spec.tls";
    const orOwnIt =
      ', or, if the home owns example.com, write it into the annotation ingress.flotilla.dev/home-domains of the IngressClass flotilla';
    expect(problems(ingress({ rules }))).toEqual([
      `Normal NoCertificate: No HTTPS for www.example.com: ${only}${orOwnIt}.`,
      `Normal NoCertificate: No HTTPS for com: ${only}.`,
    ]);
    const tls = [{ hosts: ['*.example.com'] }];
    expect(problems(ingress({ rules: rules.slice(0, 2), tls }))).toEqual([
      `Warning NoCertificate: No HTTPS for www.example.com: ${only}${orOwnIt}.`,
    ]);
    const annotations = { 'ingress.flotilla.dev/home-domains': 'example.com' };
    const owned = { ...flotilla, metadata: { ...flotilla.metadata, annotations } };
    expect(problems(ingress({ rules: rules.slice(0, 2) }), { classes: [owned] })).toEqual([]);
  });

  it('that a host is Flotilla’s own, and nothing else of it', () => {
    expect(problems(ingress({ rules: [rule('flotilla.local')] }))).toEqual([
      warning(
        "flotilla.local is the name of Flotilla's own page, and not served: choose another host.",
      ),
    ]);
  });

  it('which annotation can’t be followed', () => {
    const annotations = { 'ingress.flotilla.dev/proxy-body-size': 'lots' };
    expect(problems(ingress({ rules: [rule('films.local')] }, { annotations }))).toEqual([
      warning(
        'The annotation ingress.flotilla.dev/proxy-body-size can\'t be understood: "lots". Write a size such as 100m.',
      ),
    ]);
  });
});
