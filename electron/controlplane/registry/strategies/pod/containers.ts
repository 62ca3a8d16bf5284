// Containers of a pod: names, images, ports, mounts, probes, hooks.
// Source: kubernetes pkg/apis/core/validation/validation.go validateContainers and below.
import type { Container, ContainerPort, Volume, VolumeMount } from '#kube/api/core.ts';
import {
  duplicate,
  forbidden,
  invalid,
  notFound,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Label } from '#kube/machinery/names.ts';
import { asGiven, check, isPortName, isPortNumber } from '../text-rules.ts';
import { validateEnv, validateEnvFrom } from './env.ts';
import { validateLifecycle, validateProbe } from './probes.ts';
import { choice, validateResizePolicy, validateResourceRequirements } from './resources.ts';
import { validateRestart } from './restart.ts';
import { validateSecurityContext } from './security.ts';
import { descendingPathMessages } from './volumes.ts';

/** What containers may refer to. */
export interface PodScope {
  /** The legal volumes by name. */
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly graceSeconds: number | undefined;
  readonly restartPolicy: string | undefined;
}

export function validateContainers(
  containers: readonly Container[],
  scope: PodScope,
  path: FieldPath,
): FieldError[] {
  if (containers.length === 0) return [required(path, '')];
  const names = new Set<string>();
  const errors: FieldError[] = [];
  for (const [index, container] of containers.entries()) {
    const at = path.index(index);
    errors.push(...validateContainer(container, scope, at));
    if (names.has(container.name)) errors.push(duplicate(at.child('name'), container.name));
    names.add(container.name);
    errors.push(...validateHandlers(container, scope, at));
    errors.push(...validateRestart(container, at));
  }
  return [...errors, ...validateHostPorts(containers, path)];
}

export function validateInitContainers(
  containers: readonly Container[],
  regular: readonly Container[],
  scope: PodScope,
  path: FieldPath,
): FieldError[] {
  const names = new Set(regular.map((container) => container.name));
  const errors: FieldError[] = [];
  for (const [index, container] of containers.entries()) {
    const at = path.index(index);
    errors.push(...validateContainer(container, scope, at));
    const { restartPolicy } = container;
    errors.push(...validateRestart(container, at));
    if (names.has(container.name)) errors.push(duplicate(at.child('name'), container.name));
    else if ((container.name ?? '') !== '') names.add(container.name);
    errors.push(...validateHostPorts([container], path));
    if (restartPolicy === 'Always') errors.push(...validateHandlers(container, scope, at));
    else
      for (const name of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const)
        if (container[name] !== undefined)
          errors.push(
            forbidden(
              at.child(name),
              'may not be set for init containers without restartPolicy=Always',
            ),
          );
  }
  return errors;
}

function validateHandlers(container: Container, scope: PodScope, path: FieldPath): FieldError[] {
  const { lifecycle, livenessProbe, readinessProbe, startupProbe } = container;
  const { graceSeconds } = scope;
  return [
    ...validateLifecycle(lifecycle, graceSeconds, path.child('lifecycle')),
    ...validateProbe(livenessProbe, 'liveness', path.child('livenessProbe')),
    ...validateProbe(readinessProbe, 'readiness', path.child('readinessProbe')),
    ...validateProbe(startupProbe, 'startup', path.child('startupProbe')),
  ];
}

const messagePolicies = ['File', 'FallbackToLogsOnError'];
const pullPolicies = ['Always', 'IfNotPresent', 'Never'];

export function validateContainer(
  container: Container,
  scope: PodScope,
  path: FieldPath,
): FieldError[] {
  const { name = '', image = '' } = asGiven(container);
  const { terminationMessagePolicy = '', imagePullPolicy = '' } = container;
  return [
    ...(name === ''
      ? [required(path.child('name'), '')]
      : check(path.child('name'), name, isDns1123Label(name))),
    ...(image === '' ? [required(path.child('image'), '')] : []),
    ...choice(path.child('terminationMessagePolicy'), terminationMessagePolicy, messagePolicies),
    ...validatePorts(container.ports ?? [], path.child('ports')),
    ...validateEnv(container.env ?? [], path.child('env')),
    ...validateEnvFrom(container.envFrom ?? [], path.child('envFrom')),
    ...validateMounts(container, scope, path.child('volumeMounts')),
    ...choice(path.child('imagePullPolicy'), imagePullPolicy, pullPolicies),
    ...validateResourceRequirements(container.resources, path.child('resources')),
    ...validateResizePolicy(
      container.resizePolicy ?? [],
      path.child('resizePolicy'),
      scope.restartPolicy,
    ),
    ...validateSecurityContext(container.securityContext, path.child('securityContext')),
  ];
}

export const portProtocols = ['SCTP', 'TCP', 'UDP'];

function validatePorts(ports: readonly ContainerPort[], path: FieldPath): FieldError[] {
  const names = new Set<string>();
  return ports.flatMap((port, index) => {
    const at = path.index(index);
    const errors: FieldError[] = [];
    const { name = '', containerPort = 0 } = asGiven(port);
    const { hostPort = 0, protocol = '' } = port;
    if (name !== '') {
      const messages = isPortName(name);
      errors.push(...check(at.child('name'), name, messages));
      if (messages.length === 0 && names.has(name)) errors.push(duplicate(at.child('name'), name));
      if (messages.length === 0) names.add(name);
    }
    if (containerPort === 0) errors.push(required(at.child('containerPort'), ''));
    else
      errors.push(...check(at.child('containerPort'), containerPort, isPortNumber(containerPort)));
    if (hostPort !== 0)
      errors.push(...check(at.child('hostPort'), hostPort, isPortNumber(hostPort)));
    return [...errors, ...choice(at.child('protocol'), protocol, portProtocols)];
  });
}

function validateHostPorts(containers: readonly Container[], path: FieldPath): FieldError[] {
  const taken = new Set<string>();
  return containers.flatMap(({ ports = [] }, index) =>
    ports.flatMap(({ protocol = '', hostIP = '', hostPort = 0 }, portIndex) => {
      if (hostPort === 0) return [];
      const key = `${protocol}/${hostIP}/${hostPort}`;
      const at = path.index(index).child('ports').index(portIndex).child('hostPort');
      if (taken.has(key)) return [duplicate(at, key)];
      taken.add(key);
      return [];
    }),
  );
}

const mountPropagations = ['Bidirectional', 'HostToContainer', 'None'];

function validateMounts(container: Container, scope: PodScope, path: FieldPath): FieldError[] {
  const paths = new Set<string>();
  return (container.volumeMounts ?? []).flatMap((mount, index) => {
    const at = path.index(index);
    const { name = '', mountPath = '' } = asGiven(mount);
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(at.child('name'), ''));
    if (!scope.volumes.has(name)) errors.push(notFound(at.child('name'), name));
    if (mountPath === '') errors.push(required(at.child('mountPath'), ''));
    if (paths.has(mountPath))
      errors.push(invalid(at.child('mountPath'), mountPath, 'must be unique'));
    paths.add(mountPath);
    return [...errors, ...validateSubPath(mount, path, at), ...propagation(mount, container, path)];
  });
}

/** Kubernetes reports a bad path without the index of its mount, but for the exclusion. */
function validateSubPath(mount: VolumeMount, path: FieldPath, at: FieldPath): FieldError[] {
  const { subPath = '', subPathExpr = '' } = mount;
  const errors = check(path.child('subPath'), subPath, descendingPathMessages(subPath));
  if (subPath !== '' && subPathExpr !== '')
    errors.push(
      invalid(
        at.child('subPathExpr'),
        subPathExpr,
        'subPathExpr and subPath are mutually exclusive',
      ),
    );
  const messages = descendingPathMessages(subPathExpr);
  return [...errors, ...check(path.child('subPathExpr'), subPathExpr, messages)];
}

function propagation(mount: VolumeMount, container: Container, path: FieldPath): FieldError[] {
  const { mountPropagation } = mount;
  const at = path.child('mountPropagation');
  if (mountPropagation === undefined) return [];
  if (!mountPropagations.includes(mountPropagation))
    return [notSupported(at, mountPropagation, mountPropagations)];
  if (mountPropagation !== 'Bidirectional' || container.securityContext?.privileged === true)
    return [];
  return [
    forbidden(at, 'Bidirectional mount propagation is available only to privileged containers'),
  ];
}
