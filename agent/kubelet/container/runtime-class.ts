// What a pod's RuntimeClass stands for here: a runtime that the engine has besides its own (`docker info`:
// Runtimes). Whether it has it, the engine says when the sandbox is made.
// Source: kubernetes pkg/kubelet/runtimeclass/runtimeclass_manager.go.
import type { RestClient } from '#kube/client/rest-client.ts';
import { runtimeClasses } from '#kube/client/resources.ts';
import { hasReason } from '#kube/machinery/status.ts';

/** Asked each time: seldom used, and only when something is made anyway. */
export async function runtimeHandler(
  client: Pick<RestClient, 'get'>,
  name: string,
): Promise<string> {
  try {
    return (await client.get(runtimeClasses, { name })).handler;
  } catch (error) {
    if (hasReason(error, 'NotFound'))
      throw new Error(`RuntimeClass "${name}" not found`, { cause: error });
    throw error;
  }
}
