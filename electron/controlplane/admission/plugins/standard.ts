// The admission plugins of every cluster, in the order they run.
// Source: kubernetes pkg/kubeapiserver/options/plugins.go.
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import type { AdmissionPlugin, ObjectReader } from '../chain.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';
import { validatingPolicies } from '../policies/validating.ts';
import { mutatingWebhooks } from '../webhooks/mutating.ts';
import { validatingWebhooks } from '../webhooks/validating.ts';
import { certificateRequester } from './certificate-requester.ts';
import { defaultTolerationSeconds } from './default-toleration-seconds.ts';
import { namespaceLifecycle } from './namespace-lifecycle.ts';
import { nodeRestriction } from './node-restriction.ts';
import { priority } from './priority.ts';
import { serviceAccount } from './service-account.ts';

export function standardPlugins(deps: {
  readonly reader: ObjectReader;
  readonly clock: Clock;
  readonly random: Random;
}): readonly AdmissionPlugin[] {
  return [
    namespaceLifecycle(deps.reader),
    serviceAccount(deps),
    nodeRestriction(deps.reader),
    certificateRequester(),
    priority(),
    defaultTolerationSeconds(),
  ];
}

/** What users of the cluster have put in its way: after all that is built in but quotas, which count. */
export function dynamicPlugins(deps: DynamicDeps): readonly AdmissionPlugin[] {
  return [mutatingWebhooks(deps), validatingPolicies(deps), validatingWebhooks(deps)];
}
