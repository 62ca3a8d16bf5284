// What people write policies for, after the well-known collection of recipes, each as a matrix: who reaches whom.
import { describe, expect, it } from 'vitest';
import type { NetworkPolicy, NetworkPolicySpec } from '#kube/api/networking.ts';
import {
  contentOf,
  here,
  makeNamespace,
  makePod,
  makePolicy,
  passes,
  tableOf,
} from './testing/home.ts';
import { mayPass, type Home, type Journey } from './testing/oracle.ts';

const namespaces = [
  makeNamespace('default'),
  makeNamespace('prod', { purpose: 'production' }),
  makeNamespace('kube-system'),
];
const dnsPorts = [{ name: 'dns', containerPort: 53, protocol: 'UDP' }];
const webPorts = [
  { name: 'http', containerPort: 80 },
  { name: 'metrics', containerPort: 5000 },
];
const addresses: Readonly<Record<string, string>> = {
  web: '10.244.0.2',
  api: '10.244.0.3',
  shop: '10.244.1.4',
  monitor: '10.244.1.5',
  dns: '10.244.1.6',
  outside: '203.0.113.80',
};
const pods = [
  makePod('default/web', '10.244.0.2', { app: 'web', role: 'frontend' }, { ports: webPorts }),
  makePod('default/api', '10.244.0.3', { app: 'api', role: 'api' }),
  makePod('prod/shop', '10.244.1.4', { app: 'shop' }, { node: 'there' }),
  makePod('prod/monitor', '10.244.1.5', { type: 'monitoring' }, { node: 'there' }),
  makePod(
    'kube-system/dns',
    '10.244.1.6',
    { 'k8s-app': 'dns' },
    { node: 'there', ports: dnsPorts },
  ),
];

/** `api → web:80`, over TCP if nothing else is said: `web → dns:53/UDP`. */
function journey(way: string): Journey {
  const [from = '', to = ''] = way.split(' → ');
  const [name = '', end = '80'] = to.split(':');
  const [port = '', protocol = 'TCP'] = end.split('/');
  return {
    from: addresses[from] ?? '',
    to: addresses[name] ?? '',
    port: Number(port),
    protocol: protocol as Journey['protocol'],
  };
}

const toWeb = ['api', 'shop', 'monitor', 'outside'].map((from) => `${from} → web`);
const fromWeb = ['web → api', 'web → shop', 'web → outside', 'web → dns:53/UDP', 'web → dns:53'];
const web = { matchLabels: { app: 'web' } };
const everyPod = {};
const policy = (spec: NetworkPolicySpec): NetworkPolicy => makePolicy('p', spec);

const cases: readonly {
  readonly title: string;
  readonly policies: readonly NetworkPolicy[];
  readonly asked: readonly string[];
  readonly open: readonly string[];
}[] = [
  {
    title: 'all traffic to an app is denied',
    policies: [policy({ podSelector: web, ingress: [] })],
    asked: [...toWeb, ...fromWeb, 'shop → api'],
    open: [...fromWeb, 'shop → api'],
  },
  {
    title: 'an app is reached by some apps only',
    policies: [
      policy({
        podSelector: web,
        ingress: [{ from: [{ podSelector: { matchLabels: { role: 'api' } } }] }],
      }),
    ],
    asked: toWeb,
    open: ['api → web'],
  },
  {
    title: 'an app is open to all in spite of others that deny',
    policies: [
      makePolicy('deny', { podSelector: everyPod, ingress: [] }),
      makePolicy('open', { podSelector: web, ingress: [{}] }),
    ],
    asked: [...toWeb, 'shop → api', 'web → api'],
    open: toWeb,
  },
  {
    title: 'all traffic within a namespace is denied that is not allowed elsewhere',
    policies: [policy({ podSelector: everyPod, ingress: [] })],
    asked: [...toWeb, 'web → api', 'shop → api', 'web → shop'],
    open: ['web → shop'],
  },
  {
    title: 'other namespaces are denied',
    policies: [policy({ podSelector: everyPod, ingress: [{ from: [{ podSelector: {} }] }] })],
    asked: toWeb,
    open: ['api → web'],
  },
  {
    title: 'all namespaces are allowed, but nobody from outside',
    policies: [policy({ podSelector: web, ingress: [{ from: [{ namespaceSelector: {} }] }] })],
    asked: toWeb,
    open: ['api → web', 'shop → web', 'monitor → web'],
  },
  {
    title: 'one namespace is allowed',
    policies: [
      policy({
        podSelector: web,
        ingress: [{ from: [{ namespaceSelector: { matchLabels: { purpose: 'production' } } }] }],
      }),
    ],
    asked: toWeb,
    open: ['shop → web', 'monitor → web'],
  },
  {
    title: 'some pods of another namespace are allowed: both selectors in one peer',
    policies: [
      policy({
        podSelector: web,
        ingress: [
          {
            from: [
              {
                namespaceSelector: { matchLabels: { purpose: 'production' } },
                podSelector: { matchLabels: { type: 'monitoring' } },
              },
            ],
          },
        ],
      }),
    ],
    asked: toWeb,
    open: ['monitor → web'],
  },
  {
    title: 'pods here, and all of another namespace: the selectors as two peers',
    policies: [
      policy({
        podSelector: web,
        ingress: [
          {
            from: [
              { namespaceSelector: { matchLabels: { purpose: 'production' } } },
              { podSelector: { matchLabels: { type: 'monitoring' } } },
            ],
          },
        ],
      }),
    ],
    asked: toWeb,
    open: ['shop → web', 'monitor → web'],
  },
  {
    title: 'an app is opened to the outside',
    policies: [
      makePolicy('deny', { podSelector: everyPod, ingress: [] }),
      makePolicy('outside', {
        podSelector: web,
        ingress: [{ from: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.244.0.0/16'] } }] }],
      }),
    ],
    asked: [...toWeb, 'outside → api'],
    open: ['outside → web'],
  },
  {
    title: 'one port of an app, by number or by name',
    policies: [
      policy({
        podSelector: web,
        ingress: [
          {
            ports: [{ port: 'metrics', protocol: 'TCP' }],
            from: [{ podSelector: { matchLabels: { role: 'api' } } }],
          },
          { ports: [{ port: 8000, endPort: 8002 }] },
        ],
      }),
    ],
    asked: [80, 5000, 7999, 8000, 8002, 8003]
      .flatMap((port) => [`api → web:${port}`, `shop → web:${port}`])
      .concat('api → web:5000/UDP'),
    open: [
      'api → web:5000',
      'api → web:8000',
      'shop → web:8000',
      'api → web:8002',
      'shop → web:8002',
    ],
  },
  {
    title: 'several selectors of one rule',
    policies: [
      policy({
        podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'db'] }] },
        ingress: [
          {
            from: [
              { podSelector: { matchLabels: { role: 'api' } } },
              { namespaceSelector: {}, podSelector: { matchLabels: { app: 'shop' } } },
            ],
          },
        ],
      }),
    ],
    asked: toWeb,
    open: ['api → web', 'shop → web'],
  },
  {
    title: 'an app reaches nobody',
    policies: [policy({ podSelector: web, policyTypes: ['Egress'] })],
    asked: [...fromWeb, ...toWeb],
    open: toWeb,
  },
  {
    title: 'an app reaches names only',
    policies: [
      policy({
        podSelector: web,
        policyTypes: ['Egress'],
        egress: [
          {
            ports: [
              { port: 53, protocol: 'UDP' },
              { port: 53, protocol: 'TCP' },
            ],
          },
        ],
      }),
    ],
    asked: [...fromWeb, 'web → outside:53'],
    open: ['web → dns:53/UDP', 'web → dns:53', 'web → outside:53'],
  },
  {
    title: 'all that leaves a namespace is denied',
    policies: [policy({ podSelector: everyPod, policyTypes: ['Egress'] })],
    asked: [...fromWeb, 'api → web', 'shop → web'],
    open: ['shop → web'],
  },
  {
    title: 'an app reaches pods and names, but nothing outside',
    policies: [
      policy({
        podSelector: web,
        policyTypes: ['Egress'],
        egress: [
          { to: [{ namespaceSelector: {} }] },
          { ports: [{ port: 'dns', protocol: 'UDP' }] },
        ],
      }),
    ],
    asked: [...fromWeb, 'web → outside:53/UDP'],
    open: ['web → api', 'web → shop', 'web → dns:53/UDP', 'web → dns:53'],
  },
  {
    title: 'nothing in, nothing out, by default',
    policies: [policy({ podSelector: everyPod, policyTypes: ['Ingress', 'Egress'] })],
    asked: [...toWeb, ...fromWeb, 'web → web'],
    open: ['web → web'],
  },
  {
    title: 'egress rules without types isolate both ways',
    policies: [policy({ podSelector: web, egress: [{ to: [{ podSelector: {} }] }] })],
    asked: [...toWeb, ...fromWeb],
    open: ['web → api'],
  },
  {
    title: 'addresses of IPv6 only are nobody of these',
    policies: [policy({ podSelector: web, ingress: [{ from: [{ ipBlock: { cidr: '::/0' } }] }] })],
    asked: toWeb,
    open: [],
  },
  {
    title: 'who has the right labels in the wrong namespace is not meant',
    policies: [
      makePolicy('prod/p', {
        podSelector: { matchLabels: { app: 'web' } },
        policyTypes: ['Ingress', 'Egress'],
      }),
    ],
    asked: toWeb,
    open: toWeb,
  },
];

describe('recipes', () => {
  it.each(cases)('$title', ({ policies, asked, open }) => {
    const home: Home = { policies, namespaces, pods };
    const tables = [here, 'there'].map((node) => tableOf(contentOf(home, node)));
    const isOpen = (way: string): boolean => tables.every((table) => passes(table, journey(way)));
    expect(asked.filter(isOpen)).toEqual(asked.filter((way) => open.includes(way)));
    // And the oracle of the property tests reads them as people do.
    expect(asked.filter((way) => mayPass(home, journey(way)))).toEqual(asked.filter(isOpen));
  });
});
