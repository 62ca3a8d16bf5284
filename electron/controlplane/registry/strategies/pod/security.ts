// Security contexts of pods and containers.
// Left out: seccomp and AppArmor profiles, SELinux, Windows, procMount.
// Source: kubernetes pkg/apis/core/validation/validation.go ValidateSecurityContext.
import type { PodSpec, SecurityContext, Sysctl } from '#kube/api/core.ts';
import {
  duplicate,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { check, isUnixId } from '../text-rules.ts';

/** `specPath` is the pod spec's: some fields stand beside the context. */
export function validatePodSecurityContext(spec: PodSpec, specPath: FieldPath): FieldError[] {
  const path = specPath.child('securityContext');
  const context = spec.securityContext ?? {};
  const { fsGroup, runAsUser, runAsGroup, supplementalGroups = [], fsGroupChangePolicy } = context;
  const errors = [
    ...checkId(path.child('fsGroup'), fsGroup),
    ...checkId(path.child('runAsUser'), runAsUser),
    ...checkId(path.child('runAsGroup'), runAsGroup),
    ...supplementalGroups.flatMap((group, index) =>
      checkId(path.child('supplementalGroups').index(index), group),
    ),
  ];
  if (spec.shareProcessNamespace === true && spec.hostPID === true)
    errors.push(
      invalid(
        path.child('shareProcessNamespace'),
        true,
        'ShareProcessNamespace and HostPID cannot both be enabled',
      ),
    );
  errors.push(...validateSysctls(spec, path.child('sysctls')));
  const changePolicies = ['Always', 'OnRootMismatch'];
  if (fsGroupChangePolicy !== undefined && !changePolicies.includes(fsGroupChangePolicy))
    errors.push(
      notSupported(path.child('fsGroupChangePolicy'), fsGroupChangePolicy, changePolicies),
    );
  return errors;
}

function validateSysctls({ securityContext }: PodSpec, path: FieldPath): FieldError[] {
  const names = new Set<string>();
  return (securityContext?.sysctls ?? []).flatMap(({ name = '' }: Partial<Sysctl>, index) => {
    const at = path.index(index).child('name');
    if (name === '') return [required(at, '')];
    if (names.has(name)) return [duplicate(at, name)];
    names.add(name);
    return [];
  });
}

/** A pod with its own user namespace can't share others with the host. */
export function validateHostUsers(spec: PodSpec, path: FieldPath): FieldError[] {
  if (spec.hostUsers !== false) return [];
  const why = 'when `pod.Spec.HostUsers` is false';
  const shared = [
    ['hostNetwork', spec.hostNetwork],
    ['HostPID', spec.hostPID],
    ['HostIPC', spec.hostIPC],
  ] as const;
  return shared.flatMap(([name, isShared]) =>
    isShared === true ? [forbidden(path.child(name), why)] : [],
  );
}

export function validateSecurityContext(
  context: SecurityContext | undefined,
  path: FieldPath,
): FieldError[] {
  if (context === undefined) return [];
  const errors = [
    ...checkId(path.child('runAsUser'), context.runAsUser),
    ...checkId(path.child('runAsGroup'), context.runAsGroup),
  ];
  if (context.allowPrivilegeEscalation !== false) return errors;
  const clash = 'cannot set `allowPrivilegeEscalation` to false and';
  if (context.privileged === true)
    errors.push(invalid(path, context, `${clash} \`privileged\` to true`));
  if (context.capabilities?.add?.includes('CAP_SYS_ADMIN') === true)
    errors.push(invalid(path, context, `${clash} \`capabilities.Add\` CAP_SYS_ADMIN`));
  return errors;
}

function checkId(path: FieldPath, id: number | undefined): FieldError[] {
  return id === undefined ? [] : check(path, id, isUnixId(id));
}
