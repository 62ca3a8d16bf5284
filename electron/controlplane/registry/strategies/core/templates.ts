// PodTemplates, which nothing makes pods of, and ComponentStatuses, which nobody can write.
// Source: kubernetes pkg/registry/core/{podtemplate,componentstatus}.
import type { ComponentStatus, PodTemplate } from '#kube/api/core.ts';
import { field } from '#kube/machinery/field.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import type { Strategy } from '../../resource.ts';
import { applyTemplateDefaults } from '../pod/defaults.ts';
import { validatePodTemplate } from '../pod/validation.ts';

export const podTemplateStrategy: Strategy<PodTemplate> = {
  validateName: dns1123SubdomainName,
  applyDefaults: ({ template }) => applyTemplateDefaults(template),
  validate: ({ template }) =>
    validatePodTemplate(template ?? { spec: { containers: [] } }, field('template')),
};

export const componentStatusStrategy: Strategy<ComponentStatus> = {
  validate: () => [],
  generationFields: 'none',
};
