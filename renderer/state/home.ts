// The first line of the first page and what needs attention, most urgent first. Pure.
import type { App } from './app.ts';
import { capitalize, displayName, formatShare, joinWords, plural } from './format.ts';
import type { Machine } from './machine.ts';
import type { NextStep, Tone } from './vocabulary.ts';

export interface Attention {
  readonly key: string;
  readonly tone: Tone;
  readonly title: string;
  readonly text: string;
  readonly original: string | undefined;
  readonly nextStep: NextStep | undefined;
  readonly app: App | undefined;
}

export interface HomeView {
  readonly headline: string;
  readonly attention: readonly Attention[];
}

export function describeHome(apps: readonly App[], machines: readonly Machine[]): HomeView {
  const attention = [...machines.flatMap(machineAttention), ...apps.flatMap(appAttention)];
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

/** `One app`, `2 machines`, `3 things`: the cards below say which. */
function needing(attention: readonly Attention[]): string {
  const apps = attention.filter(({ app }) => app !== undefined).length;
  const noun = apps === attention.length ? 'app' : apps === 0 ? 'machine' : 'thing';
  return attention.length === 1 ? `One ${noun}` : plural(attention.length, noun);
}

function machineAttention(machine: Machine): Attention[] {
  const base = { key: `machine/${machine.name}`, app: undefined };
  const original = 'original' in machine.engine ? machine.engine.original : undefined;
  const see: NextStep = { kind: 'machine', label: 'Look at it', machine: machine.name };
  switch (machine.engine.kind) {
    case 'missing': {
      const nextStep: NextStep = {
        kind: 'install-engine',
        label: 'Install Docker',
        machine: machine.name,
      };
      const text =
        'Apps run in containers, and this machine has nothing to run them with. Installing Docker takes a minute or two.';
      return [
        {
          ...base,
          tone: 'trouble',
          title: `${machine.name} needs a container engine`,
          text,
          original,
          nextStep,
        },
      ];
    }
    case 'installing': {
      const text = 'This goes on by itself; what you deploy meanwhile waits for it.';
      return [
        {
          ...base,
          tone: 'busy',
          title: `${machine.name} is installing Docker`,
          text,
          original,
          nextStep: undefined,
        },
      ];
    }
    case 'stopped': {
      const text =
        'Apps on it can\'t be started or looked after until Docker runs again. Start it with "systemctl start docker" on that machine; everything else follows by itself.';
      return [
        {
          ...base,
          tone: 'trouble',
          title: `Docker is stopped on ${machine.name}`,
          text,
          original,
          nextStep: see,
        },
      ];
    }
    case 'forbidden': {
      const text =
        'Docker is there, but it does not let this user in. Add the user to the group "docker" and log in again, or run Flotilla as root; then start it once more.';
      return [
        {
          ...base,
          tone: 'trouble',
          title: `Flotilla may not use Docker on ${machine.name}`,
          text,
          original,
          nextStep: see,
        },
      ];
    }
    case 'silent': {
      const text = 'It may be switched off or cut from the network. It comes back here by itself.';
      return [
        {
          ...base,
          tone: 'trouble',
          title: `${machine.name} does not answer`,
          text,
          original,
          nextStep: see,
        },
      ];
    }
    case 'unready':
      return [
        {
          ...base,
          tone: 'busy',
          title: `${machine.name} is getting ready`,
          text: original ?? '',
          original: undefined,
          nextStep: undefined,
        },
      ];
    case 'ready':
      break;
  }
  return pressureAttention(machine, see);
}

function pressureAttention(machine: Machine, nextStep: NextStep): Attention[] {
  const ill = machine.health.filter(({ tone }) => tone === 'trouble');
  return ill.map((line) => ({
    key: `machine/${machine.name}/${line.text}`,
    app: undefined,
    tone: 'trouble',
    title: `${machine.name} ${line.text.toLowerCase()}`,
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

/** The second line: `3 machines · 7 apps · 41 % of memory in use`. */
export function homeNote(
  apps: readonly App[],
  machines: readonly Machine[],
  memoryUsed: (machine: string) => number | undefined,
): string {
  if (machines.length === 0) return 'Start the agent on a machine, and it appears here.';
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
