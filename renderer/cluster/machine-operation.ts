// Asking something of a machine: what will happen first, then the question itself. What follows stands on its Node.
import { type Ref, type ShallowRef, ref, shallowRef } from 'vue';
import type { NodeAction, NodeOperation, NodeOperationStatus } from '#kube/api/fleet.ts';
import { nodes } from '#kube/client/resources.ts';
import { failureText } from './actions.ts';
import { useCluster } from './cluster.ts';

export interface MachineOperation {
  /** That the dialog is about; undefined: it is closed. */
  readonly action: Ref<NodeAction | undefined>;
  /** Undefined while it is asked for. */
  readonly plan: ShallowRef<NodeOperationStatus | undefined>;
  readonly isBusy: Ref<boolean>;
  readonly failure: Ref<string>;
  look(action: NodeAction): Promise<void>;
  /** True when it is under way. */
  apply(): Promise<boolean>;
  close(): void;
}

export function useMachineOperation(name: () => string): MachineOperation {
  const { client } = useCluster();
  const action = ref<NodeAction>();
  const plan = shallowRef<NodeOperationStatus>();
  const isBusy = ref(false);
  const failure = ref('');

  async function ask(of: NodeAction, phase: 'Inspect' | 'Apply'): Promise<NodeOperationStatus> {
    const subresource = of === 'Remove' ? 'removal' : 'power';
    const answer = await client.createSubresource(nodes, { name: name() }, subresource, {
      apiVersion: 'flotilla.dev/v1alpha1',
      kind: 'NodeOperation',
      metadata: { name: name() },
      spec: { phase, action: of, ...(phase === 'Apply' && { acceptWarnings: true }) },
    });
    return (answer as NodeOperation).status ?? { phase: 'Obstructed' };
  }

  async function look(of: NodeAction): Promise<void> {
    action.value = of;
    plan.value = undefined;
    await attempt(async () => {
      const found = await ask(of, 'Inspect');
      // Another question, or none, may be on the page by now.
      if (action.value === of) plan.value = found;
    });
  }

  async function apply(): Promise<boolean> {
    const of = action.value;
    if (of === undefined) return false;
    const isDone = await attempt(async () => {
      const outcome = await ask(of, 'Apply');
      if (outcome.phase === 'Asked') close();
      else plan.value = outcome;
    });
    return isDone && action.value === undefined;
  }

  async function attempt(work: () => Promise<void>): Promise<boolean> {
    isBusy.value = true;
    failure.value = '';
    try {
      await work();
      return true;
    } catch (error) {
      failure.value = failureText(error);
      return false;
    } finally {
      isBusy.value = false;
    }
  }

  function close(): void {
    action.value = undefined;
  }

  return { action, plan, isBusy, failure, look, apply, close };
}
