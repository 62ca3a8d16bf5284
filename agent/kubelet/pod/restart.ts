// Pure: whether a container that ended is started again: its own rules by exit code, then its own
// policy, then its pod's.
// Source: kubernetes pkg/api/v1/pod/util.go (ContainerShouldRestart), KEP-5307.
import type { Container, PodSpec } from '#kube/api/core.ts';

/** A main or init container that exited with this code. */
export function restartsAfter(spec: PodSpec, container: Container, exitCode: number): boolean {
  const policy = container.restartPolicy ?? spec.restartPolicy ?? 'Always';
  if (container.restartPolicy !== undefined && hasRuleFor(container, exitCode)) return true;
  return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
}

/** False: whatever its end, that is its last. */
export function canRestart(spec: PodSpec, container: Container): boolean {
  const policy = container.restartPolicy ?? spec.restartPolicy ?? 'Always';
  return policy !== 'Never' || (container.restartPolicyRules ?? []).length > 0;
}

/** The only action of a rule is to restart. */
function hasRuleFor({ restartPolicyRules = [] }: Container, exitCode: number): boolean {
  return restartPolicyRules.some(({ action, exitCodes }) => {
    if (action !== 'Restart' || exitCodes === undefined) return false;
    const isListed = (exitCodes.values ?? []).includes(exitCode);
    return exitCodes.operator === 'NotIn' ? !isListed : exitCodes.operator === 'In' && isListed;
  });
}
