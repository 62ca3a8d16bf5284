// The checks of the level "restricted": what a pod has to give up on its own.
// Source: kubernetes pod-security-admission policy/check_*.go.
import type { Volume } from '#kube/api/core.ts';
import { isSeccompProfile, procMount, seccompProfile } from './baseline.ts';
import {
  containersOf,
  containersText,
  hasUserNamespace,
  isWindows,
  namesWhere,
  quoted,
  settersText,
  sortedSet,
  type AnyContainer,
  type Check,
  type CheckedPod,
  type CheckPod,
  type Violation,
} from './check.ts';

function allowPrivilegeEscalation(pod: CheckedPod): Violation | undefined {
  const names = namesWhere(
    pod,
    ({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false,
  );
  if (names.length === 0) return undefined;
  return {
    reason: 'allowPrivilegeEscalation != false',
    detail: `${containersText(names)} must set securityContext.allowPrivilegeEscalation=false`,
  };
}

function capabilities(pod: CheckedPod): Violation | undefined {
  const added = ({ securityContext }: AnyContainer): string[] =>
    (securityContext?.capabilities?.add ?? []).filter((one) => one !== 'NET_BIND_SERVICE');
  const keeping = namesWhere(
    pod,
    ({ securityContext }) => !(securityContext?.capabilities?.drop ?? []).includes('ALL'),
  );
  const adding = namesWhere(pod, (container) => added(container).length > 0);
  const details: string[] = [];
  if (keeping.length > 0)
    details.push(`${containersText(keeping)} must set securityContext.capabilities.drop=["ALL"]`);
  if (adding.length > 0) {
    const all = sortedSet(containersOf(pod).flatMap(added));
    details.push(
      `${containersText(adding)} must not include ${quoted(all)} in securityContext.capabilities.add`,
    );
  }
  if (details.length === 0) return undefined;
  return { reason: 'unrestricted capabilities', detail: details.join('; ') };
}

const allowedVolumes = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
] as const;
const restrictedVolumes = [
  'hostPath',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'gitRepo',
  'nfs',
  'iscsi',
  'glusterfs',
  'rbd',
  'flexVolume',
  'cinder',
  'cephfs',
  'flocker',
  'fc',
  'azureFile',
  'vsphereVolume',
  'quobyte',
  'azureDisk',
  'photonPersistentDisk',
  'portworxVolume',
  'scaleIO',
  'storageos',
] as const;

function volumes({ spec }: CheckedPod): Violation | undefined {
  const bad = (spec.volumes ?? []).filter((volume) =>
    allowedVolumes.every((type) => volume[type] === undefined),
  );
  if (bad.length === 0) return undefined;
  const typeOf = (volume: Volume): string =>
    restrictedVolumes.find((type) => volume[type] !== undefined) ?? 'unknown';
  const types = sortedSet(bad.map(typeOf));
  const isOne = bad.length === 1;
  const words = [
    isOne ? 'volume' : 'volumes',
    quoted(bad.map(({ name }) => name)),
    isOne ? 'uses' : 'use',
    types.length === 1 ? 'restricted volume type' : 'restricted volume types',
    quoted(types),
  ];
  return { reason: 'restricted volume types', detail: words.join(' ') };
}

function runAsNonRoot(pod: CheckedPod): Violation | undefined {
  const reason = 'runAsNonRoot != true';
  const own = pod.spec.securityContext?.runAsNonRoot;
  const said = ({ securityContext }: AnyContainer) => securityContext?.runAsNonRoot;
  const denying = namesWhere(pod, (container) => said(container) === false);
  if (own === false || denying.length > 0)
    return {
      reason,
      detail: `${settersText(own === false, denying)} must not set securityContext.runAsNonRoot=false`,
    };
  const silent = namesWhere(pod, (container) => own !== true && said(container) === undefined);
  if (silent.length === 0) return undefined;
  return {
    reason,
    detail: `pod or ${containersText(silent)} must set securityContext.runAsNonRoot=true`,
  };
}

function runAsUser(pod: CheckedPod): Violation | undefined {
  const isPod = pod.spec.securityContext?.runAsUser === 0;
  const names = namesWhere(pod, ({ securityContext }) => securityContext?.runAsUser === 0);
  if (!isPod && names.length === 0) return undefined;
  return { reason: 'runAsUser=0', detail: `${settersText(isPod, names)} must not set runAsUser=0` };
}

function seccomp(pod: CheckedPod): Violation | undefined {
  const wrong = seccompProfile(pod);
  if (wrong !== undefined) return wrong;
  if (isSeccompProfile(pod.spec.securityContext?.seccompProfile?.type ?? '')) return undefined;
  const names = namesWhere(
    pod,
    ({ securityContext }) => securityContext?.seccompProfile === undefined,
  );
  if (names.length === 0) return undefined;
  return {
    reason: 'seccompProfile',
    detail: `pod or ${containersText(names)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`,
  };
}

function exceptOnWindows(check: CheckPod): CheckPod {
  return (pod) => (isWindows(pod) ? undefined : check(pod));
}

function exceptInUserNamespace(check: CheckPod): CheckPod {
  return (pod) => (hasUserNamespace(pod) ? undefined : check(pod));
}

/** In the order in which they are told, after those of "baseline". */
export const restrictedChecks: readonly Check[] = [
  {
    id: 'allowPrivilegeEscalation',
    versions: [
      { since: 8, check: allowPrivilegeEscalation },
      { since: 25, check: exceptOnWindows(allowPrivilegeEscalation) },
    ],
  },
  {
    id: 'capabilities_restricted',
    versions: [
      { since: 22, check: capabilities, overrides: ['capabilities_baseline'] },
      { since: 25, check: exceptOnWindows(capabilities), overrides: ['capabilities_baseline'] },
    ],
  },
  {
    id: 'procMount_restricted',
    versions: [{ since: 35, check: procMount, overrides: ['procMount'] }],
  },
  {
    id: 'restrictedVolumes',
    versions: [{ since: 0, check: volumes, overrides: ['hostPathVolumes'] }],
  },
  {
    id: 'runAsNonRoot',
    versions: [
      { since: 0, check: runAsNonRoot },
      { since: 35, check: exceptInUserNamespace(runAsNonRoot) },
    ],
  },
  {
    id: 'runAsUser',
    versions: [
      { since: 23, check: runAsUser },
      { since: 35, check: exceptInUserNamespace(runAsUser) },
    ],
  },
  {
    id: 'seccompProfile_restricted',
    versions: [
      { since: 19, check: seccomp, overrides: ['seccompProfile_baseline'] },
      { since: 25, check: exceptOnWindows(seccomp), overrides: ['seccompProfile_baseline'] },
    ],
  },
];
