// Says of a policy that it has been looked at: what is wrong with its expressions is found when it is
// written, so nothing is left to warn of.
// Differs: Kubernetes checks them here once more, against the types of what they see.
// Source: kubernetes pkg/controller/validatingadmissionpolicystatus/controller.go.
import { Controller } from '#kube/client/controller.ts';
import { validatingAdmissionPolicies } from '#kube/client/resources.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';

export function createAdmissionPolicyController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const informer = deps.informers.informer(validatingAdmissionPolicies);
  const controller = new Controller({
    name: 'validatingadmissionpolicy-status',
    clock,
    logger,
    async reconcile(name) {
      const policy = informer.lister.get('', name);
      const { generation } = policy?.metadata ?? {};
      if (policy === undefined || generation === undefined) return;
      if (policy.status?.observedGeneration === generation) return;
      const status = { ...policy.status, observedGeneration: generation, typeChecking: {} };
      await client.updateStatus(validatingAdmissionPolicies, { ...policy, status });
    },
  });
  controller.watch(informer, ({ metadata }) => [metadata.name]);
  return controller;
}
