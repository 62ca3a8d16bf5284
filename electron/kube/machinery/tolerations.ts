// Which taints a pod tolerates. Source: kubernetes api core/v1/toleration.go ToleratesTaint.
import type { Taint, Toleration } from '../api/core.ts';

export function toleratesTaint(
  tolerations: readonly Toleration[] | undefined,
  taint: Taint,
): boolean {
  return (tolerations ?? []).some((toleration) => tolerates(toleration, taint));
}

export function tolerates({ effect, key, operator, value }: Toleration, taint: Taint): boolean {
  // Empty stands for all effects, and all keys.
  if (isSet(effect) && effect !== taint.effect) return false;
  if (isSet(key) && key !== taint.key) return false;
  if (operator === 'Exists') return true;
  return (!isSet(operator) || operator === 'Equal') && (value ?? '') === (taint.value ?? '');
}

function isSet(text: string | undefined): boolean {
  return text !== undefined && text !== '';
}
