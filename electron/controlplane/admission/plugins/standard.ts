// The admission plugins of every cluster, in the order they run. ResourceQuota is not among them: it
// comes after those that are put together elsewhere, too.
// Source: kubernetes pkg/kubeapiserver/options/plugins.go.
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import type { AdmissionPlugin, ObjectReader } from '../chain.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import { mutatingPolicies } from '../policies/mutating.ts';
import { paramAccess } from '../policies/param-access.ts';
import { validatingPolicies } from '../policies/validating.ts';
import { mutatingWebhooks } from '../webhooks/mutating.ts';
import { validatingWebhooks } from '../webhooks/validating.ts';
import { limitRanger } from '../limits/limit-ranger.ts';
import { podSecurity } from '../pod-security/pod-security.ts';
import { balancerAddresses } from './balancer-addresses.ts';
import { certificateRequester } from './certificate-requester.ts';
import { defaultIngressClass, defaultStorageClass } from './default-class.ts';
import { defaultTolerationSeconds } from './default-toleration-seconds.ts';
import { namespaceLifecycle } from './namespace-lifecycle.ts';
import { nodeRestriction } from './node-restriction.ts';
import { priority } from './priority.ts';
import { runtimeClass } from './runtime-class.ts';
import { serviceAccount } from './service-account.ts';
import { taintNodesByCondition } from './taint-nodes.ts';
import { persistentVolumeClaimResize, storageObjectInUseProtection } from './volume-protection.ts';

export function standardPlugins(deps: {
  readonly reader: ObjectReader;
  readonly clock: Clock;
  readonly random: Random;
}): readonly AdmissionPlugin[] {
  const { reader } = deps;
  return [
    namespaceLifecycle(reader),
    limitRanger(reader),
    serviceAccount(deps),
    nodeRestriction(reader),
    taintNodesByCondition(),
    podSecurity(reader),
    certificateRequester(),
    priority(reader),
    defaultTolerationSeconds(),
    defaultStorageClass(reader),
    storageObjectInUseProtection(),
    persistentVolumeClaimResize(reader),
    runtimeClass(reader),
    defaultIngressClass(reader),
    balancerAddresses(reader),
  ];
}

/** What users of the cluster have put in its way: after all that is built in but quotas, which count. */
export function dynamicPlugins(deps: DynamicDeps): readonly AdmissionPlugin[] {
  return [
    paramAccess(deps),
    mutatingPolicies(deps),
    mutatingWebhooks(deps),
    validatingPolicies(deps),
    validatingWebhooks(deps),
  ];
}
