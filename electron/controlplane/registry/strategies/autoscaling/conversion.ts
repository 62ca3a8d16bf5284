// autoscaling/v1 knows the use of CPU only; the rest of an autoscaler travels in annotations.
// Differs: the annotations hold autoscaling/v2's form, where Kubernetes has one of its own.
// Source: kubernetes pkg/apis/autoscaling/v1/conversion.go.
import type { HorizontalPodAutoscaler as Version1 } from '#kube/api/autoscaling.ts';
import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerSpec,
  HorizontalPodAutoscalerStatus,
  MetricSpec,
  MetricStatus,
} from '#kube/api/autoscaling-v2.ts';
import type { Conversion } from '../../versions.ts';

const prefix = 'autoscaling.alpha.kubernetes.io/';
const keys = {
  metrics: `${prefix}metrics`,
  behavior: `${prefix}behavior`,
  currentMetrics: `${prefix}current-metrics`,
  conditions: `${prefix}conditions`,
} as const;

export const autoscalerConversion: Conversion<Version1, HorizontalPodAutoscaler> = {
  toStored({ metadata, spec, status, ...rest }) {
    const { annotations, held } = takeOut(metadata.annotations);
    const { targetCPUUtilizationPercentage: target, ...sharedSpec } = spec;
    const metrics = (held.metrics ?? []) as MetricSpec[];
    if (target !== undefined)
      metrics.push({
        type: 'Resource',
        resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: target } },
      });
    const stored: HorizontalPodAutoscaler = {
      ...rest,
      apiVersion: 'autoscaling/v2',
      metadata: { ...metadata },
      spec: {
        ...sharedSpec,
        ...(metrics.length === 0 ? {} : { metrics }),
        ...(held.behavior === undefined
          ? {}
          : { behavior: held.behavior as NonNullable<HorizontalPodAutoscalerSpec['behavior']> }),
      },
    };
    if (annotations === undefined) delete stored.metadata.annotations;
    else stored.metadata.annotations = annotations;
    if (status !== undefined) stored.status = toStoredStatus(status, held);
    return stored;
  },

  fromStored({ metadata, spec, status, ...rest }) {
    const { metrics = [], behavior, ...sharedSpec } = spec;
    const cpu = metrics.find(isCpuUtilization);
    const target = cpu?.resource?.target.averageUtilization;
    const held: Held = { metrics: metrics.filter((metric) => metric !== cpu), behavior };
    const object: Version1 = {
      ...rest,
      apiVersion: 'autoscaling/v1',
      metadata: { ...metadata },
      spec: {
        ...sharedSpec,
        ...(target === undefined ? {} : { targetCPUUtilizationPercentage: target }),
      },
    };
    if (status !== undefined) object.status = fromStoredStatus(status, held);
    const annotations = putIn(metadata.annotations, held);
    if (annotations !== undefined) object.metadata.annotations = annotations;
    return object;
  },
};

interface Held {
  metrics?: unknown;
  behavior?: unknown;
  currentMetrics?: unknown;
  conditions?: unknown;
}

function toStoredStatus(
  status: NonNullable<Version1['status']>,
  held: Held,
): HorizontalPodAutoscalerStatus {
  const { currentCPUUtilizationPercentage: current, ...shared } = status;
  const currentMetrics = (held.currentMetrics ?? []) as MetricStatus[];
  if (current !== undefined)
    currentMetrics.push({
      type: 'Resource',
      resource: { name: 'cpu', current: { averageUtilization: current } },
    });
  const conditions = held.conditions as HorizontalPodAutoscalerStatus['conditions'];
  return {
    ...shared,
    ...(currentMetrics.length === 0 ? {} : { currentMetrics }),
    ...(conditions === undefined ? {} : { conditions }),
  };
}

/** What it has no field for goes to `held`. */
function fromStoredStatus(
  status: HorizontalPodAutoscalerStatus,
  held: Held,
): NonNullable<Version1['status']> {
  const { currentMetrics = [], conditions, currentReplicas = 0, ...shared } = status;
  const cpu = currentMetrics.find(isCpuUse);
  const current = cpu?.resource?.current.averageUtilization;
  held.currentMetrics = currentMetrics.filter((metric) => metric !== cpu);
  held.conditions = conditions;
  return {
    ...shared,
    currentReplicas,
    ...(current === undefined ? {} : { currentCPUUtilizationPercentage: current }),
  };
}

function isCpuUtilization({ type, resource }: MetricSpec): boolean {
  return (
    type === 'Resource' &&
    resource?.name === 'cpu' &&
    resource.target.averageUtilization !== undefined
  );
}

function isCpuUse({ type, resource }: MetricStatus): boolean {
  return (
    type === 'Resource' &&
    resource?.name === 'cpu' &&
    resource.current.averageUtilization !== undefined
  );
}

/** Annotations that can't be read, or hold something else, stay annotations. */
function takeOut(annotations: Readonly<Record<string, string>> | undefined): {
  readonly annotations: Record<string, string> | undefined;
  readonly held: Held;
} {
  const rest: Record<string, string> = { ...annotations };
  const held: Held = {};
  for (const name of Object.keys(keys) as (keyof typeof keys)[]) {
    const value = parseHeld(rest[keys[name]], name !== 'behavior');
    if (value === undefined) continue;
    held[name] = value;
    delete rest[keys[name]];
  }
  return { annotations: Object.keys(rest).length === 0 ? undefined : rest, held };
}

function parseHeld(text: string | undefined, isList: boolean): unknown {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (isList) return Array.isArray(value) && value.every(isPlain) ? value : undefined;
    return isPlain(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isPlain(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function putIn(
  annotations: Readonly<Record<string, string>> | undefined,
  held: Held,
): Record<string, string> | undefined {
  const result: Record<string, string> = { ...annotations };
  for (const name of Object.keys(keys) as (keyof typeof keys)[]) {
    const value = held[name];
    const isNothing = value === undefined || (Array.isArray(value) && value.length === 0);
    if (!isNothing) result[keys[name]] = JSON.stringify(value);
  }
  return annotations === undefined && Object.keys(result).length === 0 ? undefined : result;
}
