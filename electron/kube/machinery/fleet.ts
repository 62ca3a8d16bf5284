// What those who search for machines and those who show them agree on.

/** The name of the one Discovery there is. */
export const singletonDiscovery = 'home';

/** Reasons of a machine's condition `Addable`. */
export type AddableReason =
  | 'InCluster'
  | 'InOtherCluster'
  | 'NotAsked'
  | 'NotLinux'
  | 'NotSsh'
  | 'SshAnswers'
  | 'SshClosed'
  | 'SshSilent';
