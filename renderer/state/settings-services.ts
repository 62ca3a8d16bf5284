// Which Services have to change so that an app's ports are open, or not, as its settings say. Only
// Services that lead to this app alone are touched; names and addresses stay wherever they can. Pure.
import type { Container, Service, ServicePort } from '#kube/api/core.ts';
import type { App } from './app.ts';
import type { PortEntry } from './deploy-form.ts';
import { ownLabels } from './ownership.ts';
import { mainContainer, selectorOf } from './workload.ts';

type ServiceType = 'NodePort' | 'ClusterIP';

export type ServiceWrite =
  | { readonly verb: 'create'; readonly service: Service }
  | { readonly verb: 'patch'; readonly name: string; readonly patch: object }
  | { readonly verb: 'delete'; readonly service: Service };

/** The app's ports as the form shows them: what it listens on, and what leads there. */
export function portsOf(app: App, own: readonly Service[]): PortEntry[] {
  const container = mainContainer(app.object);
  const numbers = [
    ...(container?.ports ?? []).map(({ containerPort }) => containerPort),
    ...own.flatMap(({ spec }) => (spec?.ports ?? []).map((port) => targetOf(port, container))),
  ].filter((port): port is number => port !== undefined);
  return [...new Set(numbers)].map((port) => {
    const open = own.filter(isOpen).flatMap(({ spec }) => spec?.ports ?? []);
    const published = open.find((one) => targetOf(one, container) === port);
    return { port, isPublished: published !== undefined, nodePort: published?.nodePort };
  });
}

interface Draft {
  readonly service: Service | undefined;
  readonly name: string;
  type: ServiceType;
  ports: ServicePort[];
}

/** `taken`: names of all Services of the namespace. */
export function planServices(
  app: App,
  form: readonly PortEntry[],
  { own, taken }: { readonly own: readonly Service[]; readonly taken: readonly string[] },
): ServiceWrite[] {
  const container = mainContainer(app.object);
  const before = portsOf(app, own);
  const wanted = form.filter((entry): entry is PortEntry & { port: number } => !!entry.port);
  const drafts = own.filter(({ spec }) => (spec?.ports ?? []).length > 0).map(draftOf);
  const known = new Set(before.map(({ port }) => port));
  const isWanted = new Map(wanted.map((entry) => [entry.port, entry]));
  for (const draft of drafts)
    draft.ports = draft.ports.filter((port) => {
      const target = targetOf(port, container);
      return target === undefined || !known.has(target) || isWanted.has(target);
    });
  for (const draft of drafts) turnWhole(draft, drafts, { isWanted, container });
  for (const entry of wanted) {
    const old = before.find(({ port }) => port === entry.port);
    if (old?.isPublished === entry.isPublished) continue;
    move(entry, drafts, { app, taken, container });
  }
  return drafts.map(writeOf(app)).filter((write) => write !== undefined);
}

interface Wish {
  readonly isWanted: ReadonlyMap<number, PortEntry>;
  readonly container: Container | undefined;
}

/** A Service all of whose ports change sides changes its type, and keeps its name and address. */
function turnWhole(draft: Draft, all: readonly Draft[], { isWanted, container }: Wish): void {
  const wishes = draft.ports.map((port) => isWanted.get(targetOf(port, container) ?? 0));
  const type: ServiceType = draft.type === 'NodePort' ? 'ClusterIP' : 'NodePort';
  const isTurned = wishes.every((entry) => entry?.isPublished === (type === 'NodePort'));
  if (draft.ports.length === 0 || !isTurned || all.some((one) => one.type === type)) return;
  draft.type = type;
  draft.ports = draft.ports.map((port) => portFor(type, port));
}

interface Surroundings {
  readonly app: App;
  readonly taken: readonly string[];
  readonly container: Container | undefined;
}

function move(
  { port, isPublished, nodePort }: PortEntry & { port: number },
  drafts: Draft[],
  { app, taken, container }: Surroundings,
): void {
  const type: ServiceType = isPublished ? 'NodePort' : 'ClusterIP';
  let moved: ServicePort | undefined;
  for (const draft of drafts) {
    const found = draft.ports.find((one) => targetOf(one, container) === port);
    if (found === undefined) continue;
    // Turned as a whole, or open in another way already.
    if (draft.type === type) return;
    moved ??= found;
    draft.ports = draft.ports.filter((one) => one !== found);
  }
  let target = drafts.find((draft) => draft.type === type);
  if (target === undefined) {
    target = { service: undefined, name: freeName(app.name, type, taken), type, ports: [] };
    drafts.push(target);
  }
  const made: ServicePort = moved ?? { port, targetPort: port };
  const isClash = target.ports.some((one) => one.port === made.port);
  const next = portFor(type, isClash ? { ...made, port } : made);
  target.ports = [
    ...target.ports,
    isPublished && nodePort !== undefined ? { ...next, nodePort } : next,
  ];
}

/** Outside ports of a Service that is open no more would be refused. */
function portFor(type: ServiceType, { nodePort, ...port }: ServicePort): ServicePort {
  return type === 'NodePort' && nodePort !== undefined ? { ...port, nodePort } : port;
}

function freeName(app: string, type: ServiceType, taken: readonly string[]): string {
  const ending = type === 'NodePort' ? 'home' : 'internal';
  const names = [app, `${app}-${ending}`.slice(-63), `${app}-${ending}-2`.slice(-63)];
  return names.find((name) => !taken.includes(name)) ?? app;
}

function draftOf(service: Service): Draft {
  const type: ServiceType = isOpen(service) ? 'NodePort' : 'ClusterIP';
  const ports = [...(service.spec?.ports ?? [])];
  return { service, name: service.metadata.name, type, ports };
}

function isOpen({ spec }: Service): boolean {
  return spec?.type === 'NodePort' || spec?.type === 'LoadBalancer';
}

function writeOf(app: App): (draft: Draft) => ServiceWrite | undefined {
  return ({ service, name, type, ports }) => {
    if (service === undefined)
      return { verb: 'create', service: newService(app, name, type, ports) };
    if (ports.length === 0) return { verb: 'delete', service };
    const old = service.spec?.ports ?? [];
    const isSame =
      type === draftOf(service).type &&
      ports.length === old.length &&
      ports.every((port, index) => port === old[index]);
    if (isSame) return undefined;
    const { resourceVersion } = service.metadata;
    const spec = {
      ...(type !== draftOf(service).type && { type }),
      ports: named(ports),
    };
    return { verb: 'patch', name, patch: { metadata: { resourceVersion }, spec } };
  };
}

function newService(
  app: App,
  name: string,
  type: ServiceType,
  ports: readonly ServicePort[],
): Service {
  const { matchLabels } = selectorOf(app.object);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: app.namespace, labels: ownLabels(app.name) },
    spec: {
      type,
      selector: matchLabels ?? app.object.spec?.template?.metadata?.labels ?? {},
      ports: named(ports),
    },
  };
}

/** Kubernetes asks for names as soon as there are two. */
function named(ports: readonly ServicePort[]): ServicePort[] {
  if (ports.length < 2) return [...ports];
  return ports.map((port) => ({ ...port, name: port.name || `port-${port.port}` }));
}

/** The container's port that a Service's port leads to. */
function targetOf(
  { port, targetPort }: ServicePort,
  container: Container | undefined,
): number | undefined {
  if (typeof targetPort !== 'string') return targetPort ?? port;
  if (/^\d+$/.test(targetPort)) return Number(targetPort);
  return container?.ports?.find(({ name }) => name === targetPort)?.containerPort;
}
