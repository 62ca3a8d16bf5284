// Namespaces, configuration and events in the resource table.
import type {
  ComponentStatus,
  ConfigMap,
  Event,
  LimitRange,
  Namespace,
  PodTemplate,
  ResourceQuota,
  Secret,
  ServiceAccount,
} from '#kube/api/core.ts';
import type { Event as NewEvent } from '#kube/api/events.ts';
import {
  configMapColumns,
  eventColumns,
  namespaceColumns,
  secretColumns,
  serviceAccountColumns,
} from '../columns/config.ts';
import { allVerbs, type ResourceDefinition } from '../resource.ts';
import {
  componentStatusColumns,
  limitRangeColumns,
  podTemplateColumns,
  resourceQuotaColumns,
} from '../columns/limits.ts';
import {
  limitRangeStrategy,
  resourceQuotaStatus,
  resourceQuotaStrategy,
} from '../strategies/core/limits.ts';
import { eventConversion, validateNewEvent } from '../strategies/core/event-conversion.ts';
import { versionOf } from '../versions.ts';
import { componentStatusStrategy, podTemplateStrategy } from '../strategies/core/templates.ts';
import {
  configMapStrategy,
  secretStrategy,
  serviceAccountStrategy,
} from '../strategies/core/config.ts';
import { namespaceStatus, namespaceStrategy } from '../strategies/core/namespace.ts';
import { eventStrategy } from '../strategies/core/observation.ts';
import { core, generic, named } from './define.ts';

const namespaces: ResourceDefinition<Namespace> = {
  ...core('Namespace', 'namespaces', { namespaced: false }),
  shortNames: ['ns'],
  // A namespace's content goes first, so namespaces go one at a time.
  verbs: allVerbs.filter((verb) => verb !== 'deletecollection'),
  strategy: namespaceStrategy,
  columns: namespaceColumns,
  fieldSelectors: { 'status.phase': (namespace) => namespace.status?.phase ?? '' },
  subresources: {
    status: namespaceStatus,
    finalize: {
      type: 'connect',
      handler: 'namespace-finalize',
      kind: 'Namespace',
      verbs: ['update'],
    },
  },
};

const configMaps: ResourceDefinition<ConfigMap> = {
  ...core('ConfigMap', 'configmaps'),
  shortNames: ['cm'],
  strategy: configMapStrategy,
  columns: configMapColumns,
};

const secrets: ResourceDefinition<Secret> = {
  ...core('Secret', 'secrets'),
  isSecret: true,
  strategy: secretStrategy,
  columns: secretColumns,
  fieldSelectors: { type: (secret) => secret.type ?? '' },
};

const serviceAccounts: ResourceDefinition<ServiceAccount> = {
  ...core('ServiceAccount', 'serviceaccounts'),
  shortNames: ['sa'],
  strategy: serviceAccountStrategy,
  columns: serviceAccountColumns,
  subresources: {
    token: {
      type: 'connect',
      handler: 'service-account-token',
      kind: 'TokenRequest',
      group: 'authentication.k8s.io',
      version: 'v1',
      verbs: ['create'],
    },
  },
};

const events: ResourceDefinition<Event> = {
  ...core('Event', 'events'),
  shortNames: ['ev'],
  strategy: eventStrategy,
  columns: eventColumns,
  fieldSelectors: {
    'involvedObject.kind': (event) => event.involvedObject.kind ?? '',
    'involvedObject.namespace': (event) => event.involvedObject.namespace ?? '',
    'involvedObject.name': (event) => event.involvedObject.name ?? '',
    'involvedObject.uid': (event) => event.involvedObject.uid ?? '',
    'involvedObject.apiVersion': (event) => event.involvedObject.apiVersion ?? '',
    'involvedObject.resourceVersion': (event) => event.involvedObject.resourceVersion ?? '',
    'involvedObject.fieldPath': (event) => event.involvedObject.fieldPath ?? '',
    reason: (event) => event.reason ?? '',
    reportingComponent: (event) => event.reportingComponent ?? '',
    source: (event) => event.source?.component || (event.reportingComponent ?? ''),
    type: (event) => event.type ?? '',
  },
  ttlSeconds: 3600,
};

/** The same objects under other names. */
const newEvents: ResourceDefinition<NewEvent> = versionOf({
  naming: named('events.k8s.io', 'events/v1', 'Event', 'events'),
  stored: events,
  conversion: eventConversion,
  validate: validateNewEvent,
  fieldSelectors: {
    'regarding.kind': ({ regarding }) => regarding?.kind ?? '',
    'regarding.namespace': ({ regarding }) => regarding?.namespace ?? '',
    'regarding.name': ({ regarding }) => regarding?.name ?? '',
    'regarding.uid': ({ regarding }) => regarding?.uid ?? '',
    'regarding.apiVersion': ({ regarding }) => regarding?.apiVersion ?? '',
    'regarding.resourceVersion': ({ regarding }) => regarding?.resourceVersion ?? '',
    'regarding.fieldPath': ({ regarding }) => regarding?.fieldPath ?? '',
    reason: ({ reason }) => reason ?? '',
    reportingController: ({ reportingController }) => reportingController ?? '',
    type: ({ type }) => type ?? '',
  },
});

const limitRanges: ResourceDefinition<LimitRange> = {
  ...core('LimitRange', 'limitranges'),
  shortNames: ['limits'],
  strategy: limitRangeStrategy,
  columns: limitRangeColumns,
  awaitsCache: true,
};

const resourceQuotas: ResourceDefinition<ResourceQuota> = {
  ...core('ResourceQuota', 'resourcequotas'),
  shortNames: ['quota'],
  strategy: resourceQuotaStrategy,
  columns: resourceQuotaColumns,
  awaitsCache: true,
  subresources: { status: resourceQuotaStatus },
};

const podTemplates: ResourceDefinition<PodTemplate> = {
  ...core('PodTemplate', 'podtemplates'),
  strategy: podTemplateStrategy,
  columns: podTemplateColumns,
};

const componentStatuses: ResourceDefinition<ComponentStatus> = {
  ...core('ComponentStatus', 'componentstatuses', { namespaced: false }),
  shortNames: ['cs'],
  verbs: ['get', 'list'],
  computed: 'component-status',
  deprecation: 'v1 ComponentStatus is deprecated in v1.19+',
  strategy: componentStatusStrategy,
  columns: componentStatusColumns,
};

export const coreResources: readonly ResourceDefinition[] = [
  generic(namespaces),
  generic(configMaps),
  generic(secrets),
  generic(serviceAccounts),
  generic(events),
  generic(newEvents),
  generic(limitRanges),
  generic(resourceQuotas),
  generic(podTemplates),
  generic(componentStatuses),
];
