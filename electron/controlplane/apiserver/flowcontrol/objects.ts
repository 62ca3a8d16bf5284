// The flow schemas and priority levels of the registry's caches, given to flow control whenever they
// change; and how much work a list is, by what the caches hold.
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/flowcontrol.ts';
import { assert } from '#kube/base/assert.ts';
import type { Registry } from '../../registry/registry.ts';
import { storagePrefix } from '../../registry/resource-table.ts';
import type { RequestInfo } from '../http.ts';
import type { FlowControl } from './flow-control.ts';

export function followFlowObjects(registry: Registry, flowControl: FlowControl): void {
  const [schemas, levels] = ['flowschemas', 'prioritylevelconfigurations'].map((plural) => {
    const definition = registry.table.lookup('flowcontrol.apiserver.k8s.io', 'v1', plural);
    assert(definition, `${plural} are in the table`);
    const { cacher } = registry.resource(definition);
    cacher.listen({ onReset: configure, onEvent: configure });
    return () => cacher.list(storagePrefix(definition)).map(({ object }) => object);
  });
  let isDue = false;

  /** Once for all that came at once; and the caches have it then. */
  function configure(): void {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      flowControl.configure(
        (schemas?.() ?? []) as unknown as FlowSchema[],
        (levels?.() ?? []) as unknown as PriorityLevelConfiguration[],
      );
    });
  }
}

const objectsPerSeat = 100;
const maxWidth = 10;

/**
 * A list of many objects is worth several requests.
 * Source: kubernetes apiserver pkg/util/flowcontrol/request/list_work_estimator.go.
 */
export function listWidth(
  registry: Registry,
  { verb, group, version, resource, name }: RequestInfo,
  query: URLSearchParams,
): number {
  if (verb !== 'list' || name !== '') return 1;
  const definition = registry.table.lookup(group, version, resource);
  if (definition === undefined) return 1;
  const limit = Number(query.get('limit') ?? 0);
  const { size } = registry.resource(definition).cacher;
  const count = limit > 0 ? Math.min(limit, size) : size;
  return Math.min(maxWidth, Math.max(1, Math.ceil(count / objectsPerSeat)));
}
