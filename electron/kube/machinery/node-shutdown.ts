// A machine that goes down in order says so on its Node, and the control plane believes it.
// Source: kubernetes pkg/kubelet/nodeshutdown (`node is shutting down`).
import type { NodeCondition } from '../api/core.ts';

/** The Ready condition of such a machine. */
export const shuttingDown = {
  reason: 'KubeletNotReady',
  message: 'node is shutting down',
} as const;

export function isShuttingDown(ready: NodeCondition | undefined): boolean {
  return ready?.status === 'False' && ready.message === shuttingDown.message;
}
