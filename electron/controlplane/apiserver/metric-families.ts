// What parts of the API server count of themselves, under Kubernetes' names, for `/metrics`.
// Labels are names of objects (levels, schemas, kinds) or of a short list: their number is bounded.
// Source: kubernetes apiserver pkg/util/flowcontrol/metrics, pkg/audit/metrics.go.
import type { Registry } from '../registry/registry.ts';
import type { AuditLog } from './audit/audit-log.ts';
import type { FlowControl } from './flowcontrol/flow-control.ts';
import type { LevelCounts } from './flowcontrol/fair-queues.ts';
import type { Family, Sample } from './metrics.ts';

export function flowFamilies(flowControl: FlowControl): Family[] {
  const prefix = 'apiserver_flowcontrol';
  const perLevel = (read: (level: LevelCounts) => number) => (): Sample[] =>
    flowControl.counts().levels.map((level) => [{ priority_level: level.name }, read(level)]);
  return [
    {
      name: `${prefix}_current_executing_seats`,
      help: 'Seats taken now.',
      value: perLevel(({ inUse }) => inUse),
    },
    {
      name: `${prefix}_current_inqueue_requests`,
      help: 'Requests that wait for a seat now.',
      value: perLevel(({ waiting }) => waiting),
    },
    {
      name: `${prefix}_nominal_limit_seats`,
      help: 'Seats of the level itself.',
      value: perLevel(({ nominal }) => nominal),
    },
    {
      name: `${prefix}_dispatched_requests_total`,
      type: 'counter',
      help: 'Requests that ran.',
      value: () => flowSamples(flowControl.counts().dispatched),
    },
    {
      name: `${prefix}_rejected_requests_total`,
      type: 'counter',
      help: 'Requests that were told to come again.',
      value: () => flowSamples(flowControl.counts().rejected),
    },
  ];
}

/** Of `level,schema` or `level,schema,reason`: names of objects have no commas. */
function flowSamples(counts: ReadonlyMap<string, number>): Sample[] {
  return [...counts].map(([key, value]) => {
    const [level = '', schema = '', reason] = key.split(',');
    const labels = { flow_schema: schema, priority_level: level };
    return [reason === undefined ? labels : { ...labels, reason }, value];
  });
}

export function auditFamilies(audit: AuditLog): Family[] {
  return [
    {
      name: 'apiserver_audit_event_total',
      type: 'counter',
      help: 'Events given to the audit log.',
      value: () => audit.counts().events,
    },
    {
      name: 'apiserver_audit_error_total',
      type: 'counter',
      help: 'Events that the audit log had no room for.',
      value: () => [[{ plugin: 'log' }, audit.counts().lost]],
    },
    {
      name: 'apiserver_audit_level_total',
      type: 'counter',
      help: "Requests by the policy's level.",
      value: () => [...audit.counts().byLevel].map(([level, count]) => [{ level }, count]),
    },
  ];
}

export function storageFamilies(registry: Registry): Family[] {
  const perKind = (read: (cacher: { size: number; watcherCount: number }) => number) => () =>
    registry.table.builtIn
      .filter(({ review, storedAs }) => review === undefined && storedAs === undefined)
      .map((definition): Sample => {
        const { plural, group } = definition;
        const resource = group === '' ? plural : `${plural}.${group}`;
        return [{ resource }, read(registry.resource(definition).cacher)];
      })
      .filter(([, value]) => value > 0);
  return [
    {
      name: 'apiserver_storage_objects',
      help: 'Objects stored, of kinds that have any.',
      value: perKind(({ size }) => size),
    },
    {
      name: 'apiserver_registered_watchers',
      help: 'Watches open now, of kinds that have any.',
      value: perKind(({ watcherCount }) => watcherCount),
    },
    {
      name: 'apiserver_watchers',
      help: 'Watches open now.',
      value: () => registry.watcherCount(),
    },
  ];
}
