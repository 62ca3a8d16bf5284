// Nodes: what the agents register, and what of it may change.
// Source: kubernetes pkg/registry/core/node/strategy.go, pkg/apis/core/validation/validation.go.
import type { Node, NodeStatus } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  duplicate,
  field,
  forbidden,
  invalid,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { KeyIndex } from '#kube/machinery/key-index.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { validateResourceQuantity } from '../pod/resources.ts';
import { validateTaints } from '../pod/scheduling.ts';
import { canonicalize } from '../quantities.ts';
import { check, isCidr, isIPv6 } from '../text-rules.ts';

export const nodeStrategy: Strategy<Node> = {
  validateName: dns1123SubdomainName,
  keepsStatusOnCreate: true,
  applyDefaults(node) {
    node.spec ??= {};
    const { spec, status } = node;
    if ((spec.podCIDR ?? '') !== '' && (spec.podCIDRs ?? []).length === 0)
      spec.podCIDRs = [spec.podCIDR ?? ''];
    if (status === undefined) return;
    if (status.capacity !== undefined) status.allocatable ??= { ...status.capacity };
    canonicalize(status.capacity);
    canonicalize(status.allocatable);
  },
  validate({ spec, status }) {
    return [
      ...validateTaints(spec.taints ?? [], field('metadata', 'taints')),
      ...validateAmounts(status),
      ...validatePodCidrs(spec.podCIDRs ?? [], field('spec', 'podCIDRs')),
    ];
  },
  validateUpdate: validateNodeUpdate,
  generationFields: 'none',
};

export const nodeStatus: StatusSubresource<Node> = {
  type: 'status',
  validateUpdate: ({ status }) => [...validateAmounts(status), ...validateAddresses(status)],
};

function validateAmounts(status: NodeStatus | undefined): FieldError[] {
  return (['capacity', 'allocatable'] as const).flatMap((list) =>
    Object.entries(status?.[list] ?? {}).flatMap(([name, amount]) =>
      validateResourceQuantity(name, amount, field('status', list, name)),
    ),
  );
}

function validateAddresses(status: NodeStatus | undefined): FieldError[] {
  const addresses = status?.addresses ?? [];
  const first = new KeyIndex(addresses);
  return addresses.flatMap((address, index) =>
    first.find(address) < index
      ? [
          duplicate(field('status', 'addresses').index(index), {
            Type: address.type,
            Address: address.address,
          }),
        ]
      : [],
  );
}

function validatePodCidrs(cidrs: readonly string[], path: FieldPath): FieldError[] {
  const errors = cidrs.flatMap((cidr, index) => check(path.index(index), cidr, isCidr(cidr)));
  if (errors.length > 0 || cidrs.length < 2) return errors;
  const families = new Set(cidrs.map((cidr) => isIPv6(cidr.split('/')[0] ?? '')));
  if (families.size < cidrs.length)
    errors.push(invalid(path, cidrs, 'may specify no more than one CIDR for each IP family'));
  for (const [index, cidr] of cidrs.entries())
    if (cidrs.indexOf(cidr) < index) errors.push(duplicate(path.index(index), cidr));
  return errors;
}

function validateNodeUpdate(next: Node, old: Node): FieldError[] {
  const errors: FieldError[] = [];
  const before = old.spec.podCIDRs ?? [];
  if (before.length > 0 && !deepEqual(before, next.spec.podCIDRs ?? []))
    errors.push(
      forbidden(
        field('spec', 'podCIDRs'),
        'node updates may not change podCIDR except from "" to valid',
      ),
    );
  if ((old.spec.providerID ?? '') !== '' && old.spec.providerID !== next.spec.providerID)
    errors.push(
      forbidden(
        field('spec', 'providerID'),
        'node updates may not change providerID except from "" to valid',
      ),
    );
  return errors;
}
