// Whether a machine is one to keep the cluster's state on, read off its Node: pure.
import type { Node } from '#kube/api/core.ts';
import { digestOf, parseUpgrade, versionAnnotation } from '#kube/machinery/agent-versions.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import {
  alwaysOnAnnotation,
  controlPlaneAllowed,
  controlPlaneReportAnnotation,
  controlPlaneTargetAnnotation,
  diskSyncAnnotation,
} from '#kube/machinery/control-planes.ts';
import { toMilli } from '#kube/machinery/quantity.ts';

export interface MachineFacts {
  readonly name: string;
  readonly uid: string;
  /** Its agent was placed as a package, and so may place a control plane. */
  readonly isOurs: boolean;
  readonly is64Bit: boolean;
  readonly memoryBytes: number;
  /** Of a write that is to last; undefined: not known. */
  readonly syncMs: number | undefined;
  readonly isAlwaysOn: boolean;
  /** A person said so. */
  readonly isForbidden: boolean;
  readonly hasPressure: boolean;
  /** By the wall clock; undefined: it is not. */
  readonly readySinceMs: number | undefined;
  readonly stableMs: number;
  /** What its agent says of the control plane that it was told to run. */
  readonly failure: string | undefined;
  readonly waitsFor: string | undefined;
}

/** Of a machine with 1 GB, of which the kernel keeps some. */
export const leastMemoryBytes = 900 * 1024 * 1024;
/** Every write of the cluster waits for a majority's disks: an old SD card makes all of them slow. */
export const mostSyncMs = 100;
export const standardStableMs = 3 * 60_000;

export function machineFacts(
  { metadata, status }: Node,
  stableMs = standardStableMs,
): MachineFacts {
  const { annotations = {}, labels = {} } = metadata;
  const ready = getCondition(status?.conditions, 'Ready');
  const report = parseUpgrade(annotations[controlPlaneReportAnnotation]);
  const isAboutIt = report?.digest === digestOf(annotations[controlPlaneTargetAnnotation] ?? '');
  const syncMs = Number(annotations[diskSyncAnnotation] ?? Number.NaN);
  const isTrue = (type: string) => getCondition(status?.conditions, type)?.status === 'True';
  return {
    name: metadata.name,
    uid: metadata.uid ?? '',
    isOurs: annotations[versionAnnotation] !== undefined,
    is64Bit: ['amd64', 'arm64'].includes(status?.nodeInfo?.architecture ?? ''),
    memoryBytes: toMilli(status?.capacity?.['memory'] ?? '0') / 1000,
    syncMs: Number.isFinite(syncMs) ? syncMs : undefined,
    isAlwaysOn: annotations[alwaysOnAnnotation] !== 'no',
    isForbidden: [annotations, labels].some((one) => one[controlPlaneAllowed] === 'no'),
    hasPressure: isTrue('DiskPressure') || isTrue('MemoryPressure'),
    readySinceMs:
      ready?.status === 'True' ? Date.parse(ready.lastTransitionTime ?? '') || 0 : undefined,
    stableMs,
    failure: isAboutIt && report.state === 'Failed' ? report.why : undefined,
    waitsFor: isAboutIt ? report.why : undefined,
  };
}

export function isFit(machine: MachineFacts, nowMs: number): boolean {
  return unfitness(machine, nowMs) === undefined;
}

/** Half a sentence; undefined: it is fit. */
export function unfitness(machine: MachineFacts, nowMs: number): string | undefined {
  const { memoryBytes, syncMs, readySinceMs, stableMs } = machine;
  if (machine.isForbidden) return 'a person wants none there';
  if (!machine.isOurs) return 'its agent was not placed there by this app';
  if (!machine.is64Bit) return 'its system is none of x64 and arm64';
  if (memoryBytes < leastMemoryBytes)
    return `it has ${Math.round(memoryBytes / 1024 / 1024)} MB of memory, and 900 are needed`;
  if (syncMs !== undefined && syncMs > mostSyncMs)
    return `its disk takes ${Math.round(syncMs)} ms for a write that is to last, which all writes of the cluster would wait for`;
  if (machine.hasPressure) return 'its memory or its disk is nearly full';
  if (readySinceMs === undefined) return 'it is not ready';
  if (nowMs - readySinceMs < stableMs) return 'it has to be ready for some minutes first';
  return undefined;
}
