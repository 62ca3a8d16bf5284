// What is logged when nobody says otherwise: who changed what, without bodies. Not what the cluster
// does to itself all day (heartbeats, events, controllers): the log would wear out an SD card, and
// nobody could read it.
import { controllerRules } from '../identity/bootstrap/controller-roles.ts';
import type { AuditPolicy } from './policy.ts';

const ownParts = [
  'system:apiserver',
  'system:kube-scheduler',
  'system:kube-controller-manager',
  ...Object.keys(controllerRules).map((account) => `system:serviceaccount:kube-system:${account}`),
];

/** Questions that change nothing. */
const reviews = [{ group: 'authentication.k8s.io' }, { group: 'authorization.k8s.io' }];

const streams = ['exec', 'attach', 'portforward', 'proxy'];

export const defaultAuditPolicy: AuditPolicy = {
  omitStages: ['RequestReceived'],
  rules: [
    { level: 'None', users: ownParts },
    {
      level: 'None',
      resources: [
        { group: 'coordination.k8s.io', resources: ['leases'] },
        { group: '', resources: ['events'] },
        { group: 'events.k8s.io', resources: ['events'] },
        ...reviews,
      ],
    },
    {
      level: 'None',
      userGroups: ['system:nodes'],
      resources: [{ group: '', resources: ['nodes', 'nodes/status', 'pods/status'] }],
    },
    { level: 'Metadata', resources: [{ group: '', resources: streams.map((one) => `*/${one}`) }] },
    { level: 'None', nonResourceURLs: ['*'] },
    { level: 'Metadata', verbs: ['create', 'update', 'patch', 'delete', 'deletecollection'] },
  ],
};
