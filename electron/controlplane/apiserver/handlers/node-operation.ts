// nodes/NAME/power and nodes/NAME/removal: what a person wants done with a machine of the cluster. Checked here, decided and
// asked for by the fleet, done by the machine's own agent. Two subresources, so that who may restart a machine may not take
// it out.
import type { Node } from '#kube/api/core.ts';
import type {
  NodeAction,
  NodeOperation,
  NodeOperationSpec,
  NodeOperationStatus,
} from '#kube/api/fleet.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { field, notSupported, required, type FieldError } from '#kube/machinery/field.ts';
import { badRequest, invalid, serviceUnavailable } from '#kube/machinery/status.ts';
import type { ApiResponse } from '../http.ts';
import { readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondValue } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';

/** Throws a StatusError where the request itself is wrong; what comes of it is its answer. */
export type OperateNode = (
  node: Node,
  spec: NodeOperationSpec,
  signal: AbortSignal,
) => Promise<NodeOperationStatus>;

const kind: BodyKind = {
  group: 'flotilla.dev',
  version: 'v1alpha1',
  kind: 'NodeOperation',
  schema: 'flotilla/v1alpha1.NodeOperation',
};
const phases = ['Inspect', 'Apply'] as const;
const actionsOf: Readonly<Record<string, readonly NodeAction[]>> = {
  power: ['Reboot', 'ShutDown', 'Sleep', 'Wake'],
  removal: ['Remove'],
};

export async function handleNodeOperation(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, deps, resource, request } = scope;
  const { name } = info;
  const { dryRun, validation } = parseWriteParameters(request.query, 'CreateOptions');
  const body = (await readObject(scope, kind, validation)) as unknown as NodeOperation;
  if ((body.metadata.name ?? '') !== '' && body.metadata.name !== name)
    throw badRequest(`name in URL (${name}) does not match name in node operation`);
  const errors = validate(body.spec, actionsOf[info.subresource] ?? []);
  if (body.spec === undefined || errors.length > 0) throw invalid(kind, name, errors);
  const { object: node } = await resource.get('', name);
  const object = { ...body, metadata: { ...body.metadata, name } } as unknown as KubeObject;
  const attributes = attributesOf(scope, { operation: 'CREATE', name, object, dryRun });
  await deps.admission.admit(attributes);
  await deps.admission.validate(attributes);
  if (deps.operateNode === undefined)
    throw serviceUnavailable('machines are not looked after here');
  const spec: NodeOperationSpec = dryRun ? { ...body.spec, phase: 'Inspect' } : body.spec;
  const status = await deps.operateNode(node as Node, spec, request.signal);
  const answer: NodeOperation = {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'NodeOperation',
    metadata: { name },
    status,
  };
  return respondValue(scope, answer, 201);
}

function validate(
  spec: NodeOperationSpec | undefined,
  actions: readonly NodeAction[],
): FieldError[] {
  const path = field('spec');
  if (spec === undefined) return [required(path, '')];
  const errors: FieldError[] = [];
  if (!phases.includes(spec.phase))
    errors.push(notSupported(path.child('phase'), spec.phase, phases));
  if (!actions.includes(spec.action))
    errors.push(notSupported(path.child('action'), spec.action, actions));
  return errors;
}
