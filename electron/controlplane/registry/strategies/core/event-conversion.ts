// events.k8s.io/v1 and core/v1 Events are the same objects under other names.
// Source: kubernetes pkg/apis/events/v1/conversion.go, pkg/apis/core/validation/events.go.
import type { Event as CoreEvent } from '#kube/api/core.ts';
import type { Event } from '#kube/api/events.ts';
import { field, invalid, required, type FieldError } from '#kube/machinery/field.ts';
import type { Conversion } from '../../versions.ts';

/** events.k8s.io's name → core's. */
const names = {
  regarding: 'involvedObject',
  note: 'message',
  reportingController: 'reportingComponent',
  deprecatedSource: 'source',
  deprecatedFirstTimestamp: 'firstTimestamp',
  deprecatedLastTimestamp: 'lastTimestamp',
  deprecatedCount: 'count',
} as const;
const coreNames: Readonly<Record<string, string>> = names;
const ownNames: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(names).map(([own, core]) => [core, own]),
);

export const eventConversion: Conversion<Event, CoreEvent> = {
  toStored(event) {
    const core = { ...rename(event, coreNames), apiVersion: 'v1' } as unknown as CoreEvent;
    core.involvedObject ??= {};
    return core;
  },
  fromStored: (event) =>
    ({ ...rename(event, ownNames), apiVersion: 'events.k8s.io/v1' }) as unknown as Event,
};

function rename(object: object, map: Readonly<Record<string, string>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [map[name] ?? name, value as unknown]),
  );
}

/** Core Events may leave out what this group asks for. */
export function validateNewEvent({ eventTime, type = '' }: Event): FieldError[] {
  const at = field('type');
  const isKnown = type === 'Normal' || type === 'Warning';
  return [
    ...((eventTime as string | undefined) === undefined ? [required(field('eventTime'), '')] : []),
    ...(type === '' ? [required(at, '')] : []),
    ...(isKnown || type === '' ? [] : [invalid(at, '', `has invalid value: ${type}`)]),
  ];
}
