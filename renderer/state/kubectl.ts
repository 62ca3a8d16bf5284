// The kubectl commands that do what a page shows or does: for those who type. Pure.

export interface Command {
  readonly does: string;
  readonly line: string;
}

interface Target {
  /** Lower-case, singular: `deployment`. */
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export function appCommands({ kind, namespace, name }: Target, copies: number): Command[] {
  const space = namespace === 'default' || namespace === '' ? '' : ` -n ${quote(namespace)}`;
  const target = `${kind}/${name}`;
  const commands: Command[] = [
    { does: 'See it', line: `kubectl get ${target} -o wide${space}` },
    { does: 'Everything about it', line: `kubectl describe ${target}${space}` },
    { does: 'Follow its logs', line: `kubectl logs -f ${target} --all-containers${space}` },
  ];
  if (kind !== 'daemonset')
    commands.push({
      does: 'Scale it',
      line: `kubectl scale ${target} --replicas=${copies}${space}`,
    });
  if (kind !== 'replicationcontroller') {
    commands.push({ does: 'Restart it', line: `kubectl rollout restart ${target}${space}` });
    commands.push({ does: 'Undo its last change', line: `kubectl rollout undo ${target}${space}` });
  }
  commands.push({ does: 'Change it', line: `kubectl edit ${target}${space}` });
  commands.push({ does: 'Delete it', line: `kubectl delete ${target}${space}` });
  return commands;
}

export function objectCommands({ kind, namespace, name }: Target): Command[] {
  const space = namespace === '' ? '' : ` -n ${quote(namespace)}`;
  return [
    { does: 'See it', line: `kubectl get ${kind} ${quote(name)}${space} -o yaml` },
    { does: 'Everything about it', line: `kubectl describe ${kind} ${quote(name)}${space}` },
    { does: 'Delete it', line: `kubectl delete ${kind} ${quote(name)}${space}` },
  ];
}

export function machineCommands(name: string, isClosed: boolean): Command[] {
  return [
    { does: 'See it', line: `kubectl get node ${quote(name)} -o wide` },
    { does: 'Everything about it', line: `kubectl describe node ${quote(name)}` },
    {
      does: 'What runs on it',
      line: `kubectl get pods -A --field-selector spec.nodeName=${quote(name)}`,
    },
    {
      does: isClosed ? 'Open it' : 'Close it',
      line: `kubectl ${isClosed ? 'uncordon' : 'cordon'} ${quote(name)}`,
    },
  ];
}

function quote(word: string): string {
  return /^[\w.:/-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
