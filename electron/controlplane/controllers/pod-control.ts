// Creates and deletes pods on behalf of a controlling object, with the events users look for.
// Source: kubernetes pkg/controller/controller_utils.go RealPodControl, slowStartBatch.
import type { Pod, PodTemplateSpec } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { pods } from '#kube/client/resources.ts';
import { hasReason, StatusError } from '#kube/machinery/status.ts';
import { controllerRef } from '#kube/machinery/ownership.ts';

/** A pod as `owner` wants it; the server completes the name. */
export function podFromTemplate(template: PodTemplateSpec | undefined, owner: KubeObject): Pod {
  const copy = structuredClone(template ?? {});
  const metadata: Pod['metadata'] = {
    name: '',
    namespace: owner.metadata.namespace,
    generateName: podPrefix(owner.metadata.name),
    labels: copy.metadata?.labels,
    annotations: copy.metadata?.annotations,
    finalizers: copy.metadata?.finalizers,
    ownerReferences: [controllerRef(owner)],
  };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: copy.spec ?? { containers: [] } };
}

/** Room for the server's suffix in a name of at most 253 characters. */
function podPrefix(name: string): string {
  return name.length <= 252 ? `${name}-` : name;
}

export class PodControl {
  readonly #client: RestClient;
  readonly #recorder: EventRecorder;

  constructor(client: RestClient, recorder: EventRecorder) {
    this.#client = client;
    this.#recorder = recorder;
  }

  /** Throws what the server answered; the event is recorded first. */
  async create(pod: Pod, owner: KubeObject): Promise<void> {
    try {
      const created = await this.#client.create(pods, pod);
      const message = `Created pod: ${created.metadata.name}`;
      this.#recorder.event(owner, 'Normal', 'SuccessfulCreate', message);
    } catch (error) {
      if (!isNamespaceTerminating(error) && error instanceof Error)
        this.#recorder.event(owner, 'Warning', 'FailedCreate', `Error creating: ${error.message}`);
      throw error;
    }
  }

  /** A pod that is gone already counts as deleted; answers whether it was there. */
  async delete(pod: Pod, owner: KubeObject): Promise<boolean> {
    const { namespace, name, uid } = pod.metadata;
    try {
      await this.#client.delete(pods, { namespace, name }, { preconditions: { uid } });
      this.#recorder.event(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
      return true;
    } catch (error) {
      // A conflict means that another pod has the name by now.
      if (hasReason(error, 'NotFound') || hasReason(error, 'Conflict')) return false;
      if (error instanceof Error)
        this.#recorder.event(owner, 'Warning', 'FailedDelete', `Error deleting: ${error.message}`);
      throw error;
    }
  }
}

export function isNamespaceTerminating(error: unknown): boolean {
  if (!(error instanceof StatusError)) return false;
  const causes = error.status.details?.causes ?? [];
  return causes.some((cause) => cause.reason === 'NamespaceTerminating');
}

/**
 * Runs `count` calls in batches of 1, 2, 4 …, so that what fails always (a quota, a bad image
 * reference) costs one call and not hundreds. Stops after the batch that failed.
 */
export async function slowStartBatch(
  count: number,
  call: () => Promise<void>,
): Promise<{ readonly succeeded: number; readonly error: unknown }> {
  let succeeded = 0;
  let remaining = count;
  for (let size = Math.min(1, remaining); size > 0; size = Math.min(2 * size, remaining)) {
    const results = await Promise.allSettled(Array.from({ length: size }, call));
    const failed = results.filter((result) => result.status === 'rejected');
    succeeded += size - failed.length;
    if (failed[0] !== undefined) return { succeeded, error: failed[0].reason };
    remaining -= size;
  }
  return { succeeded, error: undefined };
}
