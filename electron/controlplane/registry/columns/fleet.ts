// Columns of machines and of the search for them.
import type { Discovery, Machine } from '#kube/api/fleet.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import type { Column } from '../resource.ts';
import { ageColumn, nameColumn, orNone, orUnknown, textColumn, wide } from './cells.ts';

export const machineColumns: readonly Column<Machine>[] = [
  nameColumn,
  textColumn('Address', 'Where it is reached.', ({ spec, status }) =>
    orNone((status?.addresses ?? []).map(({ address }) => address).join(',') || spec?.address),
  ),
  textColumn('Seen', 'Whether it is there now.', ({ status }) =>
    orUnknown(getCondition(status?.conditions, 'Seen')?.status),
  ),
  textColumn('Addable', 'Whether it can become a machine of the cluster.', ({ status }) =>
    orUnknown(getCondition(status?.conditions, 'Addable')?.status),
  ),
  textColumn('Why', 'Why it can be added, or not.', ({ status }) =>
    orNone(getCondition(status?.conditions, 'Addable')?.reason),
  ),
  textColumn('System', 'Its operating system, as its SSH server tells.', ({ status }) =>
    orUnknown(status?.operatingSystem),
  ),
  ageColumn,
  wide(textColumn('Vendor', 'Of its network card.', ({ status }) => orUnknown(status?.vendor))),
  wide(textColumn('Node', 'The Node that it is.', ({ status }) => orNone(status?.nodeName))),
  wide(
    textColumn('Seen-By', 'By what it was noticed.', ({ status }) =>
      orNone((status?.seenBy ?? []).join(',')),
    ),
  ),
];

export const discoveryColumns: readonly Column<Discovery>[] = [
  nameColumn,
  textColumn('Searching', 'Whether it searches now.', ({ status }) =>
    orUnknown(getCondition(status?.conditions, 'Searching')?.status),
  ),
  textColumn('Hears', 'Whether other devices are heard.', ({ status }) =>
    orUnknown(getCondition(status?.conditions, 'Hears')?.status),
  ),
  textColumn('Interfaces', 'Where it searches.', ({ status }) =>
    orNone((status?.interfaces ?? []).map(({ name, address }) => `${name}:${address}`).join(',')),
  ),
  ageColumn,
];
