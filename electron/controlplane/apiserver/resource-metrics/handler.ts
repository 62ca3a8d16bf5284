// metrics.k8s.io: `kubectl top`, autoscalers and dashboards ask for it. Served here rather than by an
// add-on, until somebody registers an APIService for the group.
// Source: kubernetes-sigs/metrics-server pkg/api/{node,pod}.go.
import type { Node, Pod } from '#kube/api/core.ts';
import type { NodeMetrics, PodMetrics } from '#kube/api/metrics.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { assert } from '#kube/base/assert.ts';
import { notFound } from '#kube/machinery/status.ts';
import type { ListQuery } from '../../registry/list.ts';
import type { ResourceRegistry } from '../../registry/resource-registry.ts';
import { selectorOf } from '../../registry/selection.ts';
import { parseListQuery } from '../handlers/options.ts';
import { outputForm, respondComputed, respondComputedList } from '../handlers/respond.ts';
import type { RequestScope } from '../handlers/scope.ts';
import type { ApiResponse } from '../http.ts';
import { nodeMetrics, podMetrics } from './objects.ts';

export async function handleMetricsGet(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { namespace, name } = scope.info;
  const { object } = await subjects(scope).get(namespace, name);
  const [metrics] = await metricsOf(scope, [object]);
  if (metrics !== undefined) return respondComputed(scope, metrics);
  const { group, kind } = scope.definition;
  const path = namespace === '' ? name : `${namespace}/${name}`;
  throw notFound({ group, resource: kind.toLowerCase() }, path);
}

/** As the caches have it: consistent with nothing, like what is measured. */
export async function handleMetricsList(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { definition, info, request } = scope;
  const asked = parseListQuery(request.query, definition.namespaced ? info.namespace : '');
  selectorOf(definition, asked);
  const query: ListQuery = { ...asked, ...everything };
  const { items } = await subjects(scope).list(query);
  const objects = items.map(({ object }) => object);
  return respondComputedList(scope, await metricsOf(scope, objects));
}

const everything = { limit: 0, continueToken: '', resourceVersion: '0', resourceVersionMatch: '' };

/** Nodes or pods: those that are measured. */
function subjects({ deps, definition }: RequestScope): ResourceRegistry {
  const subject = deps.registry.table.lookup('', 'v1', definition.plural);
  assert(subject, `${definition.plural} are in the table`);
  return deps.registry.resource(subject);
}

async function metricsOf(
  { definition, deps, samples }: RequestScope,
  objects: readonly KubeObject[],
): Promise<KubeObject[]> {
  const isOfNodes = definition.computed === 'node-metrics';
  const nodeOf = (object: KubeObject): string =>
    isOfNodes ? object.metadata.name : ((object as Pod).spec.nodeName ?? '');
  const isMeasured = (object: KubeObject): boolean =>
    isOfNodes || (nodeOf(object) !== '' && (object as Pod).status?.phase === 'Running');
  const measured = objects.filter(isMeasured);
  const usages = await samples.of(measured.map(nodeOf));
  const nowMs = deps.clock.now();
  return measured
    .map((object): NodeMetrics | PodMetrics | undefined => {
      const usage = usages.get(nodeOf(object));
      return isOfNodes
        ? nodeMetrics(object as Node, usage, nowMs)
        : podMetrics(object as Pod, usage, nowMs);
    })
    .filter((metrics) => metrics !== undefined);
}
