// The first line of the first page and what needs attention, most urgent first. Pure.
import type { App } from './app.ts';
import { capitalize, displayName, formatShare, joinWords, plural } from './format.ts';
import type { LoosePod } from './loose-pods.ts';
import { isAsleep, type Machine } from './machine.ts';
import { actionWords, describeAgent } from './operation.ts';
import type { NextStep, Tone } from './vocabulary.ts';

export interface Attention {
  readonly key: string;
  readonly tone: Tone;
  readonly title: string;
  readonly text: string;
  readonly original: string | undefined;
  /** The text can't do without it: it is unfolded from the start. */
  readonly showsOriginal?: true;
  readonly nextStep: NextStep | undefined;
  readonly app: App | undefined;
}

export interface HomeView {
  readonly headline: string;
  readonly attention: readonly Attention[];
}

export function describeHome(
  apps: readonly App[],
  machines: readonly Machine[],
  loose: readonly LoosePod[] = [],
): HomeView {
  const attention = [
    ...machines.flatMap(machineAttention),
    ...apps.flatMap(appAttention),
    ...loose.flatMap(looseAttention),
  ];
  return { headline: headline(apps, machines, attention), attention };
}

function headline(
  apps: readonly App[],
  machines: readonly Machine[],
  attention: readonly Attention[],
): string {
  if (machines.length === 0) return 'No machine has joined yet.';
  const urgent = attention.filter(({ tone }) => tone === 'trouble');
  if (urgent.length > 0) return `${needing(urgent)} ${urgent.length === 1 ? 'needs' : 'need'} you.`;
  const waiting = attention.filter(({ app }) => app !== undefined);
  if (attention.length > waiting.length) return `${attention[0]?.title}.`;
  if (waiting.length > 0)
    return `${needing(waiting)} ${waiting.length === 1 ? 'is' : 'are'} waiting.`;
  if (apps.length === 0) return 'Your home is ready.';
  const starting = apps.filter(({ state }) => state.word === 'Starting');
  if (starting.length > 0 && starting.length <= 3)
    return `${joinWords(starting.map(({ name }) => displayName(name)))} ${starting.length === 1 ? 'is' : 'are'} starting.`;
  if (starting.length > 0) return `${starting.length} apps are starting.`;
  return 'Everything is well.';
}

const machineKey = 'machine/';

/** `One app`, `2 machines`, `3 things`: the cards below say which. */
function needing(attention: readonly Attention[]): string {
  const apps = attention.filter(({ app }) => app !== undefined).length;
  const machines = attention.filter(({ key }) => key.startsWith(machineKey)).length;
  const noun =
    apps === attention.length ? 'app' : machines === attention.length ? 'machine' : 'thing';
  return attention.length === 1 ? `One ${noun}` : plural(attention.length, noun);
}

function machineAttention(machine: Machine): Attention[] {
  const { name, engine, operation } = machine;
  const see: NextStep = { kind: 'machine', label: 'Look at it', machine: name };
  const trouble = engineTrouble(machine, see);
  // It was meant to be so.
  if (engine.kind === 'silent' && isAsleep(machine.node)) return [];
  if (operation?.isMeant === true) return [];
  if (trouble === undefined)
    return [
      ...operationAttention(machine, see),
      ...upgradeAttention(machine, see),
      ...pressureAttention(machine, see),
    ];
  const original = 'original' in engine ? engine.original : undefined;
  return [{ key: `${machineKey}${name}`, app: undefined, original, ...trouble }];
}

/** What was asked of it and did not come about. */
function operationAttention({ name, title, operation }: Machine, nextStep: NextStep): Attention[] {
  if (operation?.isFailed !== true) return [];
  return [
    {
      key: `${machineKey}${name}/operation`,
      app: undefined,
      tone: 'wait',
      title: `${title} ${actionWords[operation.action].failed}`,
      text: 'It runs on as before. You can ask for it again on its page.',
      original: operation.text,
      showsOriginal: true,
      nextStep,
    },
  ];
}

function upgradeAttention({ name, title, node }: Machine, nextStep: NextStep): Attention[] {
  const agent = describeAgent(node);
  if (agent?.canRetry !== true) return [];
  return [
    {
      key: `${machineKey}${name}/upgrade`,
      app: undefined,
      tone: 'wait',
      title: `${title} went back to its former agent`,
      text: 'The new one did not get well there. Apps run on; no other machine gets it meanwhile.',
      original: agent.original,
      nextStep,
    },
  ];
}

type EngineTrouble = Pick<Attention, 'tone' | 'title' | 'text' | 'nextStep'> & Partial<Attention>;

/** Why a machine runs nothing, and what helps. */
function engineTrouble(
  { name, title: called, engine }: Machine,
  see: NextStep,
): EngineTrouble | undefined {
  const install = (label: string): NextStep => ({ kind: 'install-engine', label, machine: name });
  switch (engine.kind) {
    case 'missing':
      return {
        tone: 'trouble',
        title: `${called} needs a container engine`,
        text: 'Apps run in containers, and this machine has nothing to run them with. Installing Docker takes a minute or two.',
        nextStep: install('Install Docker'),
      };
    case 'by-hand':
      return {
        tone: 'trouble',
        title: `${called} needs a container engine`,
        text: 'Apps run in containers, and this machine has nothing to run them with. Flotilla can\'t install Docker here: do it yourself, on Debian or Ubuntu by "sudo apt-get install docker.io". Everything else follows by itself.',
        nextStep: see,
      };
    case 'installing':
      return {
        tone: 'busy',
        title: `${called} is installing Docker`,
        text: 'This goes on by itself; what you deploy meanwhile waits for it.',
        nextStep: undefined,
      };
    case 'failed':
      return {
        tone: 'trouble',
        title: `Docker could not be installed on ${called}`,
        text: /fetch|resolv|connect/i.test(engine.original)
          ? 'Its packages could not be fetched. See that the machine is online, then try again.'
          : 'Put right what the system says below, then try again.',
        showsOriginal: true,
        nextStep: install('Try again'),
      };
    case 'stopped':
      return {
        tone: 'trouble',
        title: `Docker is stopped on ${called}`,
        text: "Apps on it can't be started or looked after until Docker runs again. Start it on that machine; everything else follows by itself.",
        showsOriginal: true,
        nextStep: see,
      };
    case 'forbidden':
      return {
        tone: 'trouble',
        title: `Flotilla may not use Docker on ${called}`,
        text: 'Docker is there, but it does not let this user in. Add the user to the group "docker" and log in again, or run Flotilla as root; then start it once more.',
        nextStep: see,
      };
    case 'silent':
      return {
        tone: 'trouble',
        title: `${called} does not answer`,
        text: 'It may be switched off or cut from the network. It comes back here by itself.',
        nextStep: see,
      };
    case 'unready':
      return {
        tone: 'busy',
        title: `${called} is getting ready`,
        text: engine.original,
        original: undefined,
        nextStep: undefined,
      };
    case 'ready':
      return undefined;
  }
}

function pressureAttention(machine: Machine, nextStep: NextStep): Attention[] {
  const ill = machine.health.filter(({ tone }) => tone === 'trouble');
  return ill.map((line) => ({
    key: `${machineKey}${machine.name}/${line.text}`,
    app: undefined,
    tone: 'trouble',
    title: `${machine.title} ${line.text.toLowerCase()}`,
    text: 'New copies go elsewhere until it has room again.',
    original: line.original,
    nextStep,
  }));
}

function appAttention(app: App): Attention[] {
  const { word, tone, reason, original, nextStep } = app.state;
  if (word !== 'Trouble' && word !== 'Waiting') return [];
  const name = displayName(app.name);
  return [
    {
      key: app.key,
      tone,
      title: word === 'Trouble' ? `${name} is in trouble` : `${name} is waiting`,
      text: `${capitalize(reason)}.`,
      original,
      nextStep,
      app,
    },
  ];
}

function looseAttention({ key, name, machine, state }: LoosePod): Attention[] {
  const { word, tone, reason, original } = state;
  if (word !== 'Trouble' && word !== 'Waiting') return [];
  return [
    {
      key,
      tone,
      title: `${name} ${word === 'Trouble' ? 'is in trouble' : 'is waiting'}`,
      text: `${capitalize(reason)}. It belongs to no app.`,
      original,
      nextStep:
        machine === undefined ? undefined : { kind: 'machine', label: 'Look at it', machine },
      app: undefined,
    },
  ];
}

/** The second line: `3 machines · 7 apps · 41 % of memory in use`. */
export function homeNote(
  apps: readonly App[],
  machines: readonly Machine[],
  memoryUsed: (machine: string) => number | undefined,
): string {
  if (machines.length === 0) return 'Add one, and it keeps your apps.';
  const parts = [plural(machines.length, 'machine')];
  if (apps.length > 0) parts.push(plural(apps.length, 'app'));
  let used = 0;
  let whole = 0;
  for (const machine of machines) {
    const bytes = memoryUsed(machine.name);
    if (bytes === undefined) continue;
    used += bytes;
    whole += machine.memoryBytes;
  }
  if (whole > 0) parts.push(`${formatShare(used / whole)} of memory in use`);
  return parts.join(' · ');
}
