// Says of each flow schema whether its priority level is there: without it, the next schema that fits
// is taken. Source: kubernetes apiserver pkg/util/flowcontrol/apf_controller.go (syncFlowSchemaStatus).
import type { FlowSchema } from '#kube/api/flowcontrol.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller } from '#kube/client/controller.ts';
import { flowSchemas, priorityLevelConfigurations } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { setCondition, type ConditionLike } from '#kube/machinery/conditions.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';
import { ignoreNotFound } from './ownership.ts';

export function createFlowSchemaController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const schemas = deps.informers.informer(flowSchemas);
  const levels = deps.informers.informer(priorityLevelConfigurations);
  const controller = new Controller({
    name: 'flow-schema-controller',
    clock,
    logger,
    async reconcile(name) {
      const schema = schemas.lister.get('', name);
      if (schema === undefined) return;
      const isThere = levels.lister.get('', levelOf(schema)) !== undefined;
      const condition = danglingCondition(levelOf(schema), isThere);
      const now = rfc3339(clock.now());
      // The types don't promise a type, validation does.
      const before = schema.status?.conditions as ConditionLike[] | undefined;
      const conditions = setCondition(before, condition, now);
      if (deepEqual(conditions, schema.status?.conditions)) return;
      const status = { ...schema.status, conditions };
      await client.updateStatus(flowSchemas, { ...schema, status }).catch(ignoreNotFound);
    },
  });
  controller.watch(schemas);
  controller.watch(levels, ({ metadata }) =>
    schemas.lister
      .list()
      .filter((schema) => levelOf(schema) === metadata.name)
      .map((schema) => schema.metadata.name),
  );
  return controller;
}

function levelOf({ spec }: FlowSchema): string {
  return spec?.priorityLevelConfiguration.name ?? '';
}

function danglingCondition(level: string, isThere: boolean) {
  const refers = `This FlowSchema references the PriorityLevelConfiguration object named ${JSON.stringify(level)}`;
  return isThere
    ? { type: 'Dangling', status: 'False', reason: 'Found', message: `${refers} and it exists` }
    : {
        type: 'Dangling',
        status: 'True',
        reason: 'NotFound',
        message: `${refers} but there is no such object`,
      };
}
