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

/** `SHA256:` and 43 characters of Base64, as OpenSSH prints the fingerprint of a key. */
export function isHostKey(text: string): boolean {
  return /^SHA256:[A-Za-z0-9+/]{43}$/.test(text);
}
