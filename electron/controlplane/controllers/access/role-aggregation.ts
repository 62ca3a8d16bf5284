// Fills in the rules of ClusterRoles that are made of others: of all that their selectors match.
// Source: kubernetes pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go.
import type { ClusterRole, PolicyRule } from '#kube/api/rbac.ts';
import { Controller } from '#kube/client/controller.ts';
import { clusterRoles } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { matchesLabelSelector } from '#kube/machinery/selector.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';

export function createRoleAggregationController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const informer = deps.informers.informer(clusterRoles);
  const { lister } = informer;
  const controller = new Controller({
    name: 'clusterrole-aggregation-controller',
    clock,
    logger,
    async reconcile(name) {
      const role = lister.get('', name);
      if (role?.aggregationRule === undefined) return;
      const rules = aggregate(role, lister.list());
      if (!deepEqual(rules, role.rules ?? []))
        await client.update(clusterRoles, { ...role, rules });
    },
  });
  controller.watch(informer, () =>
    lister
      .list()
      .filter(({ aggregationRule }) => aggregationRule !== undefined)
      .map(({ metadata }) => metadata.name),
  );
  return controller;
}

/** Each rule once, by the names of the roles they come from. */
export function aggregate(role: ClusterRole, all: readonly ClusterRole[]): PolicyRule[] {
  const selectors = role.aggregationRule?.clusterRoleSelectors ?? [];
  const rules: PolicyRule[] = [];
  const parts = all
    .filter(({ metadata }) => metadata.name !== role.metadata.name)
    .filter(({ metadata }) =>
      selectors.some((selector) => matchesLabelSelector(selector, metadata.labels ?? {})),
    )
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const rule of parts.flatMap((part) => part.rules ?? []))
    if (!rules.some((known) => deepEqual(known, rule))) rules.push(rule);
  return rules;
}
