import { describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import type { HttpMethod } from '#kube/client/transport.ts';
import { parseRequestInfo } from '../request-info.ts';
import { authorizeNode } from './node-authorizer.ts';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'a', name: 'web' },
  spec: {
    containers: [],
    volumes: [
      { name: 'd', persistentVolumeClaim: { claimName: 'data' } },
      { name: 't', persistentVolumeClaim: { claimName: 'thief' } },
    ],
  },
};

function claim(name: string, volumeName: string): PersistentVolumeClaim {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { namespace: 'a', name, uid: `uid-${name}` },
    spec: { volumeName },
  };
}

const share = { driver: 'smb.csi.k8s.io', volumeHandle: 'h' };
const volumes: Readonly<Record<string, PersistentVolume>> = {
  nas: {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'nas' },
    spec: {
      claimRef: { namespace: 'a', name: 'data', uid: 'uid-data' },
      csi: { ...share, nodeStageSecretRef: { namespace: 'b', name: 'password' } },
    },
  },
  others: {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'others' },
    spec: {
      claimRef: { namespace: 'b', name: 'private', uid: 'uid-private' },
      csi: { ...share, nodeStageSecretRef: { namespace: 'b', name: 'other' } },
    },
  },
  here: {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'here', labels: { [localPath.nodeLabel]: 'n1' } },
    spec: {},
  },
};
const claims = [claim('data', 'nas'), claim('thief', 'others')];

function may(line: string): boolean {
  const [method = '', url = ''] = line.split(' ');
  const [path = '', search = ''] = url.split('?');
  const query = new URLSearchParams(search);
  const info = parseRequestInfo({ method: method as HttpMethod, path, query });
  const attributes = {
    ...info,
    user: { name: 'system:node:n1', groups: ['system:nodes'] },
    fieldSelector: null,
    labelSelector: query.get('labelSelector'),
  };
  return authorizeNode('n1', attributes, {
    podsOnNode: (name) => (name === 'n1' ? [pod] : []),
    nodeVolumes: {
      claim: (namespace, name) =>
        claims.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name),
      volume: (name) => volumes[name],
    },
  }).allowed;
}

describe('of volumes a node may', () => {
  const allowed = [
    'GET /api/v1/namespaces/a/persistentvolumeclaims/data',
    'GET /api/v1/persistentvolumes/nas',
    'PATCH /api/v1/persistentvolumes/nas',
    'GET /api/v1/namespaces/b/secrets/password',
    'GET /api/v1/persistentvolumes/here',
    'PATCH /api/v1/persistentvolumes/here',
    `GET /api/v1/persistentvolumes?labelSelector=${localPath.nodeLabel}%3Dn1&watch=true`,
  ];
  it.each(allowed)('%s', (line) => {
    expect(may(line)).toBe(true);
  });
});

describe('of volumes a node may not', () => {
  const refused = [
    'GET /api/v1/namespaces/a/persistentvolumeclaims/other',
    'GET /api/v1/namespaces/b/persistentvolumeclaims/data',
    'PATCH /api/v1/namespaces/a/persistentvolumeclaims/data',
    'GET /api/v1/namespaces/a/persistentvolumeclaims',
    'GET /api/v1/persistentvolumes',
    `GET /api/v1/persistentvolumes?labelSelector=${localPath.nodeLabel}%3Dn2`,
    'DELETE /api/v1/persistentvolumes/here',
    'PATCH /api/v1/persistentvolumes/here/status',
    'POST /api/v1/persistentvolumes',
    // A claim names it, but it belongs to another.
    'GET /api/v1/persistentvolumes/others',
    'GET /api/v1/namespaces/b/secrets/other',
  ];
  it.each(refused)('%s', (line) => {
    expect(may(line)).toBe(false);
  });
});
