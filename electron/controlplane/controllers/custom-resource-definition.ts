// Definitions of custom resources that go take their objects with them, and give up their names:
// others that wait for one are written again, which decides anew.
// Source: kubernetes apiextensions-apiserver pkg/controller/finalizer/crd_finalizer.go.
import type {
  CustomResourceDefinition,
  CustomResourceDefinitionCondition,
} from '#kube/api/apiextensions.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import type { Informer } from '#kube/client/informer.ts';
import { customResourceDefinitions, type Resource } from '#kube/client/resources.ts';
import { StatusError } from '#kube/machinery/status.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';
import { ignoreNotFound } from './ownership.ts';

const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';
const inProgress = {
  status: 'True',
  reason: 'InstanceDeletionInProgress',
  message: 'CustomResource deletion is in progress',
} as const;
const failedReason = 'InstanceDeletionFailed';
/** While objects with finalizers are left, nobody tells us when they go. */
const retryMs = 1_000;

export function createCustomResourceDefinitionController(deps: ControllerDeps): RunnableController {
  return new CustomResourceDefinitionController(deps);
}

class CustomResourceDefinitionController implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #definitions: Informer<CustomResourceDefinition>;
  readonly #controller: Controller;

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#definitions = deps.informers.informer(customResourceDefinitions);
    this.#controller = new Controller({
      name: 'custom-resource-definition',
      clock: deps.clock,
      logger: deps.logger,
      maxDelayMs: 60_000,
      reconcile: (name) => this.#reconcile(name),
    });
    const enqueue = ({ metadata }: KubeObject): void => this.#controller.enqueue(metadata.name);
    this.#controller.watchWith<CustomResourceDefinition>(this.#definitions, {
      onAdd: enqueue,
      onUpdate: (_old, definition) => enqueue(definition),
      onDelete: ({ spec }) => this.#waitingForNames(spec.group).forEach(enqueue),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  #waitingForNames(group: string): CustomResourceDefinition[] {
    const all = this.#definitions.lister.list();
    return all.filter(
      (one) => one.spec.group === group && conditionOf(one, 'NamesAccepted')?.status === 'False',
    );
  }

  async #reconcile(name: string): Promise<ReconcileResult> {
    const { client } = this.#deps;
    const cached = this.#definitions.lister.get('', name);
    if (cached === undefined) return {};
    const isDeleting = cached.metadata.deletionTimestamp !== undefined;
    const isWaiting = conditionOf(cached, 'NamesAccepted')?.status === 'False';
    if (!isDeleting && !isWaiting) return {};
    const live = await client.get(customResourceDefinitions, { name }).catch(ignoreNotFound);
    if (live === undefined || live.metadata.uid !== cached.metadata.uid) return {};
    if (isDeleting) return this.#cleanUp(live);
    // The server decides about names with every write.
    await client.update(customResourceDefinitions, live);
    return {};
  }

  async #cleanUp(definition: CustomResourceDefinition): Promise<ReconcileResult> {
    const finalizers = definition.metadata.finalizers ?? [];
    if (!finalizers.includes(cleanupFinalizer)) return {};
    // Each write comes back as an event: to and fro it would never end.
    const hasFailed = conditionOf(definition, 'Terminating')?.reason === failedReason;
    const begun = hasFailed ? definition : await this.#setTerminating(definition, inProgress);
    try {
      const left = await this.#deleteInstances(begun);
      if (left > 0 && hasFailed) await this.#setTerminating(begun, inProgress);
      if (left > 0) return { requeueAfterMs: retryMs };
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      await this.#setTerminating(begun, {
        status: 'True',
        reason: failedReason,
        message: `could not list instances: ${error.message}`,
      });
      throw error;
    }
    const done = await this.#setTerminating(begun, {
      status: 'False',
      reason: 'InstanceDeletionCompleted',
      message: 'removed all instances',
    });
    const { name, uid, resourceVersion } = done.metadata;
    const kept = finalizers.filter((finalizer) => finalizer !== cleanupFinalizer);
    const patch = { metadata: { uid, resourceVersion, finalizers: kept } };
    await this.#deps.client.patch(customResourceDefinitions, { name }, patch).catch(ignoreNotFound);
    return {};
  }

  /** How many are left: they have finalizers of their own. */
  async #deleteInstances(definition: CustomResourceDefinition): Promise<number> {
    const { client } = this.#deps;
    const resource = resourceOf(definition);
    if (resource === undefined) return 0;
    const { items } = await client.list(resource);
    const namespaces = new Set(items.map(({ metadata }) => metadata.namespace ?? ''));
    for (const namespace of namespaces) await client.deleteCollection(resource, { namespace });
    return items.length === 0 ? 0 : (await client.list(resource)).items.length;
  }

  async #setTerminating(
    definition: CustomResourceDefinition,
    { status, reason, message }: Omit<CustomResourceDefinitionCondition, 'type'>,
  ): Promise<CustomResourceDefinition> {
    const old = conditionOf(definition, 'Terminating');
    if (old?.status === status && old.reason === reason && old.message === message)
      return definition;
    const now = rfc3339(this.#deps.clock.now());
    const lastTransitionTime = old?.status === status ? (old.lastTransitionTime ?? now) : now;
    const others = (definition.status?.conditions ?? []).filter(
      ({ type }) => type !== 'Terminating',
    );
    const condition = { type: 'Terminating', status, reason, message, lastTransitionTime };
    return this.#deps.client.updateStatus(customResourceDefinitions, {
      ...definition,
      status: { ...definition.status, conditions: [...others, condition] },
    });
  }
}

function conditionOf(
  { status }: CustomResourceDefinition,
  type: string,
): CustomResourceDefinitionCondition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

/** Undefined: it never served anything, so there are no objects. */
function resourceOf(definition: CustomResourceDefinition): Resource | undefined {
  if (conditionOf(definition, 'Established')?.status !== 'True') return undefined;
  const { spec, status } = definition;
  const { plural, kind } = status?.acceptedNames ?? spec.names;
  // The stored version needs no converter, which may be gone; it is there while the definition goes.
  const version = spec.versions.find(({ storage }) => storage);
  if (version === undefined) return undefined;
  const namespaced = spec.scope === 'Namespaced';
  return { group: spec.group, version: version.name, resource: plural, kind, namespaced };
}
