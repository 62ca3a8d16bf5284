// What a person can do to apps and machines, each as the API write that kubectl would make.
// Throws StatusError with the server's words; callers show them beside what was clicked.
import { daemonSets, deployments, nodes, replicationControllers } from '#kube/client/resources.ts';
import type { Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { retryAnnotation } from '#kube/machinery/agent-versions.ts';
import { displayNameAnnotation, toDisplayName } from '#kube/machinery/node-title.ts';
import { StatusError } from '#kube/machinery/status.ts';
import type { App } from '../state/app.ts';
import { installEngineAnnotation } from '../state/engine.ts';
import { type Revision, rollbackPatch } from '../state/revisions.ts';
import type { WorkloadKind } from '../state/workload.ts';
import { useCluster } from './cluster.ts';

export const workloadResources: Readonly<Record<WorkloadKind, Resource<never>>> = {
  Deployment: deployments as Resource<never>,
  DaemonSet: daemonSets as Resource<never>,
  ReplicationController: replicationControllers as Resource<never>,
};

export class Actions {
  readonly #client: RestClient;

  constructor(client: RestClient) {
    this.#client = client;
  }

  async scale(app: App, replicas: number): Promise<void> {
    await this.#patch(app, { spec: { replicas } });
  }

  /** What `kubectl rollout restart` does: a new template, so that every copy is replaced in turn. */
  async restart(app: App, nowMs: number): Promise<void> {
    const restartedAt = new Date(nowMs).toISOString();
    const annotations = { 'kubectl.kubernetes.io/restartedAt': restartedAt };
    await this.#patch(app, { spec: { template: { metadata: { annotations } } } });
  }

  /** What `kubectl rollout undo --to-revision` does. */
  async rollBack(app: App, revision: Revision): Promise<void> {
    const { namespace, name } = app;
    const patch = rollbackPatch(app.object, revision);
    await this.#client.patch(deployments, { namespace, name }, patch, { type: 'json' });
  }

  async requestEngine(machine: string): Promise<void> {
    const annotations = { [installEngineAnnotation]: 'requested' };
    await this.#client.patch(nodes, { name: machine }, { metadata: { annotations } });
  }

  async setSchedulable(machine: string, isSchedulable: boolean): Promise<void> {
    await this.#client.patch(
      nodes,
      { name: machine },
      { spec: { unschedulable: isSchedulable ? null : true } },
    );
  }

  /** What people call it; '' takes that back. */
  async rename(machine: string, title: string): Promise<void> {
    const text = toDisplayName(title);
    const isOwn = text === '' || text === machine;
    const annotations = { [displayNameAnnotation]: isOwn ? null : text };
    await this.#client.patch(nodes, { name: machine }, { metadata: { annotations } });
  }

  /** Forgets that the new agent failed there. */
  async retryUpgrade(machine: string): Promise<void> {
    const annotations = { [retryAnnotation]: 'requested' };
    await this.#client.patch(nodes, { name: machine }, { metadata: { annotations } });
  }

  async #patch(app: App, patch: object): Promise<void> {
    const { namespace, name } = app;
    await this.#client.patch(workloadResources[app.kind], { namespace, name }, patch);
  }
}

export function useActions(): Actions {
  return new Actions(useCluster().client);
}

/** A sentence for the person who clicked. */
export function failureText(error: unknown): string {
  if (error instanceof StatusError) return error.message;
  return error instanceof Error && error.name === 'TransportError'
    ? 'The server could not be reached; nothing was changed as far as this page knows.'
    : String(error instanceof Error ? error.message : error);
}
